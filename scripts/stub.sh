#!/bin/sh
# Compile what runs inside a container without an interpreter, for each machine: the stub that commands are,
# and what starts programs. The binaries are committed beside their source: pairlock is installed where no
# compiler is. tests/sandbox/guest/test_stub_binary.py compiles them again and compares, where the compilers
# are of the version that `compiled-by` names.
set -eu
cd "$(dirname "$0")/../sandbox/guest/stub"
out="${1:-.}"
for machine in x86_64 aarch64; do
    for program in "stub.c $machine" "start.c start-$machine"; do
        "$machine-linux-gnu-gcc" -std=c11 -Wall -Wextra -Werror -Os -static -nostdlib -ffreestanding -fno-builtin -fno-pie \
            -no-pie -fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -fno-tree-loop-distribute-patterns \
            -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,norelro -Wl,-z,noseparate-code -s \
            -o "$out/${program#* }" "${program% *}"
    done
done
{ x86_64-linux-gnu-gcc -dumpfullversion; aarch64-linux-gnu-gcc -dumpfullversion; x86_64-linux-gnu-ld --version | head -n 1; } > "$out/compiled-by"
