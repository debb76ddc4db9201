#!/usr/bin/env python3
"""The dependency rule of the pure rooms: no DPDK, no libbpf, no device, no clock, no system call.

usage: check_dependencies.py TOP BUILD
Sources of src/{base,clock,lock,predict,cluster,client} are searched for includes and calls that are
forbidden there; the static libraries built from them are searched (nm) for the symbols they want
from elsewhere. The C functions they may call are named in PURE_SYMBOLS: computation, memory, and
what an assertion says before it aborts. Python 3, standard library only.
"""
import pathlib
import re
import subprocess
import sys

PURE_ROOMS = ("base", "clock", "lock", "predict", "cluster", "client")

# Who may include whom (docs/design: the rooms), beside the room itself.
MAY_INCLUDE = {
    "base": (),
    "clock": ("base",),
    "lock": ("base",),
    "predict": ("base", "lock", "clock"),
    "cluster": ("base", "clock", "lock"),
    "client": ("base", "lock", "clock"),
}

FORBIDDEN_INCLUDE = re.compile(
    r"^\s*#\s*include\s*[<\"]("
    r"rte_[^>\"]*|dpdk/[^>\"]*|bpf/[^>\"]*|libbpf[^>\"]*|linux/[^>\"]*|asm/[^>\"]*|sys/[^>\"]*|net/[^>\"]*|"
    r"netinet/[^>\"]*|arpa/[^>\"]*|unistd\.h|fcntl\.h|poll\.h|signal\.h|csignal|pthread\.h|sched\.h|"
    r"time\.h|ctime|chrono|thread|mutex|condition_variable|future|fstream|iostream|filesystem|"
    r"x86intrin\.h|dlfcn\.h|netdb\.h|ifaddrs\.h|syslog\.h|"
    r"hw/[^>\"]*|bpf/[^>\"]*|src/node/[^>\"]*|tools/[^>\"]*"
    r")[>\"]"
)
ROOM_INCLUDE = re.compile(r"^\s*#\s*include\s*\"src/([a-z]+)/")
FORBIDDEN_CALL = re.compile(
    r"\b(?:std::chrono::|std::random_device|std::thread|std::mutex|std::getenv|getenv|__rdtscp?|_rdtsc|"
    r"clock_gettime|gettimeofday|timespec_get|nanosleep|usleep|syscall|ioctl|setsockopt|recvfrom|recvmsg|"
    r"sendto|sendmsg|std::time|std::clock|std::system|popen|fork|execv[pe]*)\b\s*[({:]?"
)
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.S)

# What a pure library may want from C. Add to it what computes; nothing that asks the system.
PURE_SYMBOLS = re.compile(
    r"^(?:"
    r"mem(?:cpy|move|set|cmp|chr|rchr)|bcmp|str(?:n?len|n?cmp|chr|rchr|str|to[dlfu]l{0,2}|n?cpy)|"
    r"malloc|calloc|realloc|free|posix_memalign|aligned_alloc|"
    r"abort|fprintf|stderr|vsnprintf|snprintf|fwrite|fputs|fputc|"  # an assertion's last words
    r"sqrt[fl]?|exp[2m]?[1]?[fl]?|log(?:2|10|1p|b)?[fl]?|pow[fl]?|fabs[fl]?|floor[fl]?|ceil[fl]?|"
    r"l?l?(?:round|rint)[fl]?|trunc[fl]?|fmod[fl]?|hypot[fl]?|erfc?[fl]?|[lt]gamma(?:_r)?[fl]?|"
    r"a?(?:sin|cos|tan)h?[fl]?|atan2[fl]?|sincos[fl]?|nearbyint[fl]?|frexp[fl]?|ldexp[fl]?|cbrt[fl]?|"
    r"isnan|isinf|__popcountdi2|"  # the last is the compiler's own, without -mpopcnt
    r"crypto_generichash\w*|crypto_shorthash\w*|crypto_verify_\w+|sodium_mem\w+|sodium_increment|"
    r"HighwayHash\w*|XXH\w+|svm_\w+|"
    r"__\w*chk|__stack_chk_fail|__cxa_\w+|__gxx_personality_v0|__dso_handle|_Unwind_\w+|__tls_get_addr|"
    r"__errno_location|__libc_single_threaded|__assert_fail|_GLOBAL_OFFSET_TABLE_|__cpu_model|__cpu_indicator_init|"
    r"__(?:u?div|u?mod|mul|float\w*|fix\w*)[a-z0-9]*|"
    r"__(?:asan|ubsan|sanitizer|lsan|sancov)_\w+|__start___sancov\w*|__stop___sancov\w*|__gcov_\w+"
    r")$"
)
# C++ (demangled) that reads a clock, makes a thread, opens a file, or asks for entropy.
FORBIDDEN_CXX = re.compile(
    r"std::chrono::_V2::|std::thread|std::this_thread|std::random_device|std::basic_[io]?f(?:ile)?stream|"
    r"std::basic_filebuf|std::filesystem|std::cout|std::cerr|std::cin|std::condition_variable|"
    r"spdlog::|prometheus::"
)


# The client library blocks its caller and answers pushes, so it has a thread and its locks. That is
# no clock and no device: what it waits for comes through its transport. No other pure room has them.
MAY_HAVE_THREADS = ("client",)
THREAD_WORD = re.compile(r"thread|mutex|condition_variable")


def room_of(path, top):
    return path.relative_to(top / "src").parts[0]


def has_leave(room, words):
    return room in MAY_HAVE_THREADS and THREAD_WORD.search(words)


def check_source(path, top):
    text = path.read_text(encoding="utf-8")
    room = room_of(path, top)
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{path.relative_to(top)}:{number}"
        forbidden = FORBIDDEN_INCLUDE.match(line)
        if forbidden and not has_leave(room, forbidden.group(0)):
            yield f"{where}: src/{room} may not include <{forbidden.group(1)}>"
        other = ROOM_INCLUDE.match(line)
        if other and other.group(1) != room and other.group(1) not in MAY_INCLUDE[room]:
            yield f"{where}: src/{room} may not depend on src/{other.group(1)}"
    blanked = COMMENT_OR_STRING.sub(lambda match: "\n" * match.group(0).count("\n"), text)
    for number, line in enumerate(blanked.splitlines(), 1):
        call = FORBIDDEN_CALL.search(line)
        if call and not has_leave(room, call.group(0)):
            yield (f"{path.relative_to(top)}:{number}: src/{room} may not use "
                   f"{call.group(0).rstrip('({: ')}: time and packets are arguments")


def read_symbols(libraries, option):
    """Names of the undefined or defined symbols of the libraries, by library."""
    symbols = {}
    for library in libraries:
        done = subprocess.run(["nm", "-P", option, str(library)], capture_output=True, text=True,
                              check=True)
        lines = (line.split() for line in done.stdout.splitlines())
        symbols[library] = {words[0] for words in lines if len(words) >= 2}
    return symbols


def demangle(names):
    names = sorted(names)
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True,
                          check=True)
    return dict(zip(names, done.stdout.splitlines()))


def check_libraries(libraries, build):
    undefined = read_symbols(libraries, "--undefined-only")
    defined = set().union(*read_symbols(libraries, "--defined-only").values())
    for library, wanted in undefined.items():
        where = library.relative_to(build)
        room = library.parent.name
        for name, plain in demangle(wanted - defined).items():
            if name.startswith("_Z"):
                if FORBIDDEN_CXX.search(plain) and not has_leave(room, plain):
                    yield f"{where}: uses {plain}"
            elif not PURE_SYMBOLS.match(name) and not has_leave(room, name):
                yield (f"{where}: uses {name}(): if it asks the system, pass its answer in; if it "
                       "only computes, name it in PURE_SYMBOLS of this check")


def main():
    top = pathlib.Path(sys.argv[1]).resolve()
    build = pathlib.Path(sys.argv[2]).resolve()
    sources = [path for room in PURE_ROOMS for path in sorted((top / "src" / room).rglob("*"))
               if path.suffix in (".hpp", ".cpp", ".h")]
    libraries = [path for room in PURE_ROOMS for path in sorted((build / "src" / room).glob("*.a"))]
    problems = [problem for path in sources for problem in check_source(path, top)]
    problems.extend(check_libraries(libraries, build))
    if not sources or not libraries:
        problems.append("nothing to check: are the paths right, and is it built?")
    print("\n".join(problems))
    print(f"{len(sources)} files and {len(libraries)} libraries of the pure rooms checked, "
          f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
