/* Prints what an exported policy computes, as the bits of its numbers: its outputs and its action
 * for every observation of its self-test (of frames, for the newest one), then what it answers to
 * NaN, to infinity and to huge numbers. */
#include "test/policy_test.c"

#ifdef __AVR__ /* an ATmega1284P, which the simulator leaves when it sleeps without interrupts */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

static void put(char c)
{
    while (!(UCSR0A & (1 << UDRE0)))
        ;
    UDR0 = (uint8_t)c;
}

static void begin(void)
{
    UCSR0A = 1 << U2X0;
    UBRR0 = 0;
    UCSR0B = 1 << TXEN0;
}

static void end(void)
{
    cli();
    sleep_enable();
    sleep_cpu();
}
#else
#include <stdio.h>

static void put(char c)
{
    putchar(c);
}

static void begin(void) {}

static void end(void) {}
#endif

static void show(char name, uint32_t bits)
{
    int i;
    put(name);
    put(' ');
    for (i = 28; i >= 0; i -= 4)
        put("0123456789abcdef"[bits >> i & 15]);
    put('\n');
}

static uint32_t bits_of_float(float value)
{
    union {
        float value;
        uint32_t bits;
    } number;
    number.value = value;
    return number.bits;
}

static float float_of_bits(uint32_t bits)
{
    union {
        float value;
        uint32_t bits;
    } number;
    number.bits = bits;
    return number.value;
}

static uint32_t bits_of_action(policy_action action)
{
    const int is_float = (policy_action)0.5f != 0;
    return is_float ? bits_of_float((float)action) : (uint32_t)(int32_t)action;
}

static policy_scratch scratch;
#if POLICY_FRAMES > 1
static policy_frames frames;
#define ACT(observation, action) policy_act(observation, action, &frames, &scratch)
#else
#define ACT(observation, action) policy_act(observation, action, &scratch)
#endif

int main(void)
{
    static float observation[POLICY_OBSERVATION_SIZE];
    policy_action action[POLICY_ACTION_SIZE];
    const int count = sizeof observations / sizeof observations[0];
    int test, i;
    begin();
    show('t', (uint32_t)policy_self_test(&scratch));
    for (test = 0; test < count; test++) {
        const float *newest = observations[test] + POLICY_INPUT_SIZE - POLICY_OBSERVATION_SIZE;
        if (ACT(newest, action) != POLICY_OK)
            return 1;
        for (i = 0; i < POLICY_OUTPUT_SIZE; i++)
            show('o', bits_of_float(scratch.outputs[i]));
        for (i = 0; i < POLICY_ACTION_SIZE; i++)
            show('a', bits_of_action(action[i]));
    }
    for (i = 0; i < 3; i++) {
        static const uint32_t bad[3] = {0x7fc00000u, 0x7f800000u, 0xff800000u};
        observation[POLICY_OBSERVATION_SIZE - 1] = float_of_bits(bad[i]);
        show('n', (uint32_t)ACT(observation, action));
    }
    for (i = 0; i < POLICY_OBSERVATION_SIZE; i++)
        observation[i] = i % 2 ? 3e38f : -3e38f;
    show('h', (uint32_t)ACT(observation, action));
    end();
    return 0;
}
