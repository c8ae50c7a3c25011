/* Prints the self-test's result, and the ticks of CALLS actions and of a million instructions. */
#include "emulated.h"
#include "policy.h"

#ifndef CALLS
#define CALLS 1
#endif

static policy_scratch scratch;
#if POLICY_FRAMES > 1
static policy_frames frames;
#define ACT(observation, action) policy_act(observation, action, &frames, &scratch)
#else
#define ACT(observation, action) policy_act(observation, action, &scratch)
#endif

static void print_count(const char *name, uint32_t number)
{
    char text[12];
    int i = sizeof text - 1;
    text[i] = '\0';
    text[--i] = '\n';
    do
        text[--i] = (char)('0' + number % 10);
    while (number /= 10);
    say(name);
    say(text + i);
}

int main(void)
{
    static float observation[POLICY_OBSERVATION_SIZE];
    policy_action action[POLICY_ACTION_SIZE];
    uint32_t before;
    int call, i;
    print_count("failed ", (uint32_t)policy_self_test(&scratch));
    for (i = 0; i < POLICY_OBSERVATION_SIZE; i++)
        observation[i] = 0.1f * (float)(i % 7 - 3);
    start_clock();
    before = clock_now();
    for (call = 0; call < CALLS; call++)
        ACT(observation, action);
    print_count("ticks ", clock_now() - before);
    before = clock_now();
    __asm__ volatile("1: subs %0, %0, #1\n\tbne 1b" : "=r"(i) : "0"(500000) : "cc");
    print_count("million ", clock_now() - before);
    return 0;
}
