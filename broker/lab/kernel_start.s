# The first instructions of the guest's kernel, in place of Debian's own, which spend three seconds of an emulated
# processor on unpacking it. What builds the disk has unpacked it already (kernel.py).
#
# The boot loader puts all of this at 1 MiB and calls it as the boot protocol of Linux says: 32-bit protected mode, flat
# segments, the boot parameters in %esi. The kernel wants to be called at 16 MiB, in long mode, with the first 4 GiB
# mapped where they are, and the boot parameters in %rsi.

        .set    KERNEL, 0x1000000

        .code32
        .globl  _start
_start: movl    %esi, %ebx
        # Where it belongs may lie in the midst of where it is, and is always above: so the last word goes first.
        std
        movl    $(image_end - 4), %esi
        movl    $(KERNEL + (image_end - image) - 4), %edi
        movl    $((image_end - image) / 4), %ecx
        rep movsl
        cld

        lgdt    segments
        movl    %cr4, %eax
        orl     $0x20, %eax                     # addresses longer than 32 bits
        movl    %eax, %cr4
        movl    $level4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx               # EFER: long mode
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax               # paging
        movl    %eax, %cr0
        ljmp    $0x10, $long

        .code64
long:   movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %ebx, %esi
        movl    $KERNEL, %eax
        jmp     *%rax

        .balign 8
table:  .quad   0, 0, 0x00af9a000000ffff, 0x00cf92000000ffff
segments:
        .word   segments - table - 1
        .long   table

        .balign 4096
level4: .quad   level3 + 3
        .fill   511, 8, 0
level3: .quad   level2 + 3, level2 + 0x1003, level2 + 0x2003, level2 + 0x3003
        .fill   508, 8, 0
level2: .set    address, 0
        .rept   2048
        .quad   address + 0x83                  # 2 MiB, writable
        .set    address, address + 0x200000
        .endr

image:  .incbin "image"
image_end:
