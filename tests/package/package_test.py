#!/usr/bin/env python3
"""The Debian packages in a fresh Debian root: made, installed, the service up as its own user, upgraded,
purged. Skips where debootstrap, debhelper or a mirror is not there.
usage: package_test.py TOP BUILD"""
import os
import pathlib
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

SKIP = 77
SUITE = "bookworm"
PACKAGES = ["driftlockd", "driftlock", "libdriftlock1", "libdriftlock-dev"]
# Lists and logs of apt and dpkg name every package that ever was.
LOGS = ("/var/log/", "/var/cache/", "/var/lib/dpkg/", "/var/lib/apt/", "/proc/", "/sys/", "/packages/")


def skip(reason):
    print(f"SKIP: {reason}", flush=True)
    sys.exit(SKIP)


def run(*command, check=True, **options):
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                           **options)
    if check and ended.returncode != 0:
        raise AssertionError(f"{command} exited {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.stdout + ended.stderr


def find_mirror():
    """Where this machine has its own packages from."""
    lines = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)",
                "Created-By: Packages", check=False)
    for line in lines.splitlines():
        uri, codename, component = (line.split() + ["", "", ""])[:3]
        if codename == SUITE and component == "main":
            return uri
    return None


class Root:
    """A fresh Debian, in a mount namespace that goes with this process."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.netns = f"dl{os.getpid()}package"
        self.services = []  # ended with this, whatever happens

    def __enter__(self):
        self.path.chmod(0o755)  # it is everybody's "/" in there
        mirror = find_mirror()
        if mirror is None:
            skip(f"no mirror of {SUITE} in this machine's lists")
        made = subprocess.run(["debootstrap", "--variant=minbase", SUITE, self.path, mirror],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            skip("debootstrap could not make a root: " + (made.stdout + made.stderr)[-300:])
        # Devices of its own: nothing of this machine's is in there to be deleted with it.
        run("mount", "-t", "tmpfs", "dev", self.path / "dev")
        for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
            run("mknod", "-m", "666", self.path / "dev" / name, "c", "1", minor)
        run("mount", "-t", "proc", "proc", self.path / "proc")
        run("ip", "netns", "add", self.netns)
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for service in self.services:
            if service.poll() is None:
                service.kill()
                service.wait()
        run("ip", "netns", "delete", self.netns, check=False)
        for name in ("proc", "dev"):
            run("umount", "-l", self.path / name, check=False)

    def call(self, *command, check=True):
        return run("chroot", self.path, *command, check=check,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive",
                        "LC_ALL": "C", "HOME": "/"})

    def inside(self, *command):
        """The same in a network namespace of its own."""
        return ["ip", "netns", "exec", self.netns, "chroot", str(self.path), *command]

    def read(self, path):
        return (self.path / path.lstrip("/")).read_text()

    def named_driftlock(self):
        found = run("find", self.path, "-xdev", "-name", "*driftlock*")
        names = [line[len(str(self.path)):] for line in found.splitlines()]
        return [name for name in names if not name.startswith(LOGS)]


def make_packages(top, build, root, version):
    output = root.path / "packages" / version
    # Debug symbols take most of the time, and nothing here looks at them.
    run(top / "tools/package", "--build", build, "--output", output, "--version", version,
        env={**os.environ, "DEB_BUILD_OPTIONS": "noautodbgsym"})
    found = sorted(path.name for path in output.glob("*.deb"))
    wanted = sorted(f"{name}_{version}_" for name in PACKAGES)
    assert [name.rsplit("_", 1)[0] + "_" for name in found] == wanted, found
    return [f"/packages/{version}/{name}" for name in found]


def check_contents(root):
    for path in ("/usr/sbin/driftlockd", "/usr/bin/driftlock", "/usr/include/driftlock.h",
                 "/usr/include/driftlock_clock.h", "/lib/systemd/system/driftlockd.service",
                 "/lib/systemd/system/driftlock-ptp4l@.service",
                 "/lib/systemd/system/driftlock-phc2sys@.service",
                 "/lib/systemd/system/driftlock-probe@.service", "/usr/lib/sysusers.d/driftlock.conf",
                 "/usr/lib/tmpfiles.d/driftlockd.conf", "/etc/driftlock/driftlockd.toml",
                 "/etc/driftlock/client.toml", "/usr/share/man/man8/driftlockd.8.gz",
                 "/usr/share/man/man1/driftlock.1.gz", "/usr/share/man/man3/libdriftlock.3.gz",
                 "/usr/share/bash-completion/completions/driftlock"):
        assert (root.path / path.lstrip("/")).exists(), f"{path} is not in the packages"
    libraries = [path.name for path in root.path.glob("usr/lib/*/libdriftlock*.so.1")]
    assert sorted(libraries) == ["libdriftlock.so.1", "libdriftlock_clock.so.1"], libraries
    file = next(root.path.glob("usr/lib/*/pkgconfig/driftlock.pc")).read_text()
    assert file.startswith("prefix=/usr\n"), file
    listed = set(re.search(r"local commands='(.*)'",
                           root.read("/usr/share/bash-completion/completions/driftlock"))[1].split())
    helped = root.call("driftlock", "--help").split("Subcommands:")[1].split("Settings come")[0]
    known = {line.split()[0] for line in helped.splitlines() if re.match(r"  [a-z]", line)}
    assert listed == known, f"completion knows {listed ^ known} alone or not"
    keys = root.path / "etc/driftlock/keys.toml"
    owner = root.call("stat", "-c", "%U:%G %a", "/etc/driftlock/keys.toml", "/var/lib/driftlock")
    assert owner.split("\n")[:2] == ["driftlock:driftlock 600", "driftlock:driftlock 700"], owner
    return keys.read_text()


def check_unit(root):
    said = root.call("systemd-analyze", "verify", "--man=no", "/lib/systemd/system/driftlockd.service",
                     "/lib/systemd/system/driftlock-probe@.service", check=False)
    about_ours = [line for line in said.splitlines() if "driftlock" in line]
    assert not about_ours, said
    rated = root.call("systemd-analyze", "security", "--offline=true", "driftlockd.service",
                      check=False)
    overall = re.search(r"Overall exposure level for driftlockd.service: ([\d.]+)", rated)
    assert overall, rated
    print(f"systemd-analyze security: {overall[1]} of 10")
    assert float(overall[1]) <= 3.5, rated


def unit_setting(root, key):
    text = root.read("/lib/systemd/system/driftlockd.service")
    return re.findall(rf"^{key}=(.*)$", text, re.M)


class Service:
    """The unit's ExecStart, as systemd would run it: its user, its capabilities, its directories, and
    an ear for what it tells."""

    def __init__(self, root, environment=()):
        self.root = root
        path = root.path / "run/notify.sock"
        path.unlink(missing_ok=True)
        self.ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ear.bind(str(path))
        path.chmod(0o666)
        capabilities = ",".join("+" + name.lower().removeprefix("cap_")
                                for name in unit_setting(root, "AmbientCapabilities")[0].split())
        user, group = unit_setting(root, "User")[0], unit_setting(root, "Group")[0]
        command = shlex.split(unit_setting(root, "ExecStart")[0])
        self.process = subprocess.Popen(
            root.inside("env", "NOTIFY_SOCKET=/run/notify.sock", "WATCHDOG_USEC=600000",
                        *unit_setting(root, "Environment"), *environment, "setpriv", "--reuid", user,
                        "--regid", group, "--clear-groups", "--inh-caps", "-all," + capabilities,
                        "--ambient-caps", capabilities, "--bounding-set", "-all," + capabilities,
                        "--no-new-privs", *command, "--set", "clock.trust_unsynchronized=true"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        root.services.append(self.process)

    def hears(self, part, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            if select.select([self.ear], [], [], 0.2)[0]:
                said = self.ear.recv(4096).decode()
                if part in said:
                    return said
        self.process.kill()
        raise AssertionError(f"never told {part!r}:\n{self.process.stdout.read()}")

    def stop(self):
        self.process.terminate()
        told = self.hears("STOPPING=1")
        said = self.process.communicate(timeout=30)[0]
        assert self.process.returncode == 0, said
        self.ear.close()
        (self.root.path / "run/notify.sock").unlink()
        return told


def check_service(root):
    service = Service(root)
    ready = service.hears("READY=1")
    assert "STATUS=serving address=127.0.0.1:4780" in ready, ready
    status = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
    uid = int(root.call("id", "-u", "driftlock"))
    assert re.search(rf"^Uid:\t{uid}\t{uid}\t{uid}", status, re.M), status
    assert "NoNewPrivs:\t1" in status, status
    service.hears("WATCHDOG=1")
    for command in (["driftlock", "ping", "--count", "2"], ["driftlock", "status"],
                    ["driftlock", "run", "packaged", "--", "true"]):
        print("".join(run(*root.inside(*command)).splitlines(keepends=True)[:1]), end="")
    doctor = subprocess.run(root.inside("driftlock", "doctor"), capture_output=True, text=True,
                            check=False)
    print(doctor.stdout)
    assert "a node answers at /run/driftlock/admin.sock" in doctor.stdout, doctor
    assert re.search(r"good +keys", doctor.stdout), doctor
    service.stop()


def check_upgrade(root, newer, keys):
    config = root.path / "etc/driftlock/driftlockd.toml"
    config.write_text(config.read_text() + "\n# the operator's\n")
    epoch = sorted((root.path / "var/lib/driftlock").iterdir())
    root.call("apt-get", "install", "-y", "--no-install-recommends", *newer)
    version = root.call("dpkg-query", "-W", "-f", "${Version}", "driftlockd")
    assert version.endswith("-2"), version
    assert config.read_text().endswith("# the operator's\n"), "the configuration was replaced"
    assert root.read("/etc/driftlock/keys.toml") == keys, "the keys were replaced"
    assert sorted((root.path / "var/lib/driftlock").iterdir()) == epoch, "the state is gone"
    service = Service(root)
    service.hears("READY=1")
    service.stop()


def check_purge(root):
    root.call("apt-get", "remove", "-y", *PACKAGES)
    assert (root.path / "etc/driftlock/keys.toml").exists(), "removing is not purging"
    root.call("dpkg", "--purge", *PACKAGES)
    left = root.named_driftlock()
    assert not left, f"purge left {left}"
    assert "driftlock" not in root.read("/etc/passwd") + root.read("/etc/group"), "purge left the user"
    assert not root.call("dpkg-query", "-W", "-f", "${Package} ${Status}\n", "driftlock*",
                         check=False).count("config-files")


def main():
    if os.geteuid() != 0:
        skip("a root of its own needs root")
    for program in ("debootstrap", "dh", "setpriv"):
        if shutil.which(program) is None:
            skip(f"there is no {program}")
    if os.environ.get("DRIFTLOCK_OWN_MOUNTS") != "1":
        os.environ["DRIFTLOCK_OWN_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable,
                              *sys.argv])
    top, build = (pathlib.Path(path).resolve() for path in sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="dlroot") as folder:
        with Root(folder) as root:
            version = "0.1.0"
            first = make_packages(top, build, root, f"{version}-1")
            newer = make_packages(top, build, root, f"{version}-2")
            root.call("apt-get", "install", "-y", "--no-install-recommends", *first)
            keys = check_contents(root)
            check_unit(root)
            check_service(root)
            check_upgrade(root, newer, keys)
            check_purge(root)
    print("ok")


if __name__ == "__main__":
    main()
