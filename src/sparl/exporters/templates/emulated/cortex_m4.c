/* Start-up code of a Cortex-M4F without an operating system. It counts instructions, and prints
 * through the emulator by semihosting. */
#include "emulated.h"

extern uint32_t data_from[], data_begin[], data_end[], bss_begin[], bss_end[], stack_top[];

#define SYSTICK ((volatile uint32_t *)0xe000e010) /* control, reload, current */
#define FLOATING_POINT (*(volatile uint32_t *)0xe000ed88)

static void ask(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void say(const char *text)
{
    ask(0x04, text);
}

/* The emulator's clock counts instructions, and so does a counter of its ticks. */
void start_clock(void)
{
    SYSTICK[1] = 0xffffff;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    while (SYSTICK[2] == 0) /* the counter is loaded at the first tick */
        ;
}

uint32_t clock_now(void)
{
    return 0xffffff - SYSTICK[2];
}

void reset(void)
{
    const uint32_t *from = data_from;
    uint32_t *to;
    FLOATING_POINT |= 0xfu << 20;
    __asm__ volatile("dsb\n\tisb");
    for (to = data_begin; to < data_end;)
        *to++ = *from++;
    for (to = bss_begin; to < bss_end;)
        *to++ = 0;
    main();
    ask(0x18, (const void *)0x20026); /* the application ends */
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    stack_top,
    (const void *)reset,
};
