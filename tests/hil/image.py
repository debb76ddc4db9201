"""The guests' image for the lab: Debian's kernel and an initramfs of busybox, linuxptp and driftlock.

    image.py FOLDER DRIFTLOCKD DRIFTLOCK      builds it, or finds it unchanged; prints kernel and initramfs

The kernel comes from apt (`apt-get download`, unpacked, nothing is installed), the programs with the
libraries that they want from this machine. What it was built from is kept beside it, so that a second
run builds nothing.
"""

import glob
import gzip
import hashlib
import os
import shutil
import subprocess
import sys

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/sbin:/sbin:/usr/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm /run /tmp /var/run; mount -t tmpfs shm /dev/shm
for module in dca i2c-algo-bit igb; do insmod /modules/$module.ko; done
ip link set lo up
for word in $(cat /proc/cmdline); do
  case $word in address=*) address=${word#address=};; esac
done
sleep 1
ip addr add $address dev eth0; ip link set eth0 up
# Commands come in base64, a line each, so that none is mangled on the way.
serve() {
  stty raw -echo
  echo "guest is up: $address $(ls /dev/ptp0)" >/dev/console
  while read -r line; do echo "$line" | base64 -d >/tmp/command; sh /tmp/command 2>&1; done
}
while true; do serve </dev/ttyS1 >/dev/ttyS1; done
"""

MODULES = ["drivers/dca/dca", "drivers/i2c/algos/i2c-algo-bit", "drivers/net/ethernet/intel/igb/igb"]
PROGRAMS = ["/usr/sbin/ptp4l", "/usr/sbin/phc_ctl", "/usr/sbin/pmc", "/bin/busybox"]


def unpack_kernel(folder):
    """The kernel package of this Debian release, unpacked in `folder`."""
    root = f"{folder}/kernel"
    found = glob.glob(f"{root}/boot/vmlinuz-*")
    if found:
        return root, found[0]
    depends = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], check=True,
                             capture_output=True, text=True).stdout
    package = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line][0]
    os.makedirs(root, exist_ok=True)
    subprocess.run(["apt-get", "download", "-q", package], check=True, cwd=folder,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    [archive] = glob.glob(f"{folder}/{package}_*.deb")
    subprocess.run(["dpkg", "-x", archive, root], check=True)
    os.remove(archive)
    return root, glob.glob(f"{root}/boot/vmlinuz-*")[0]


def libraries_of(program):
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    paths = [word for line in said.splitlines() for word in line.split() if word.startswith("/")]
    return set(paths)


def digest(paths):
    total = hashlib.sha256(INIT.encode())
    for path in paths:
        with open(path, "rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def fill(root, kernel, programs):
    for folder in ("bin", "usr/sbin", "modules", "proc", "sys", "dev", "run"):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    with open(f"{root}/init", "w", encoding="utf-8") as file:
        file.write(INIT)
    os.chmod(f"{root}/init", 0o755)
    for module in MODULES:
        [path] = glob.glob(f"{kernel}/lib/modules/*/kernel/{module}.ko")
        shutil.copy(path, f"{root}/modules")
    for program in programs:
        shutil.copy(program, f"{root}/bin")
        for library in libraries_of(program):
            os.makedirs(root + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, root + library)


def build(folder, driftlockd, driftlock):
    """Returns the paths of kernel and initramfs."""
    os.makedirs(folder, exist_ok=True)
    kernel_root, kernel = unpack_kernel(folder)
    programs = [*PROGRAMS, driftlockd, driftlock]
    image = f"{folder}/initramfs.gz"
    stamp = f"{folder}/initramfs.sha256"
    now = digest(programs)
    if os.path.exists(image) and os.path.exists(stamp):
        with open(stamp, encoding="utf-8") as file:
            if file.read() == now:
                return kernel, image
    root = f"{folder}/root"
    shutil.rmtree(root, ignore_errors=True)
    fill(root, kernel_root, programs)
    names = subprocess.run(["find", ".", "-print0"], cwd=root, check=True, capture_output=True).stdout
    archive = subprocess.run(["cpio", "-0", "-o", "-H", "newc", "--quiet"], cwd=root, input=names,
                             check=True, capture_output=True).stdout
    with gzip.open(image, "wb", compresslevel=1) as file:
        file.write(archive)
    shutil.rmtree(root)
    with open(stamp, "w", encoding="utf-8") as file:
        file.write(now)
    return kernel, image


if __name__ == "__main__":
    print(*build(*sys.argv[1:]))
