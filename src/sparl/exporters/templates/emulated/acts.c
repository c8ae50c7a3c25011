/* A program that only acts. Its size is what a policy costs. */
#include "emulated.h"
#include "policy.h"

volatile float sensors[POLICY_OBSERVATION_SIZE];
volatile policy_action motors[POLICY_ACTION_SIZE];

static policy_scratch scratch;
#if POLICY_FRAMES > 1
static policy_frames frames;
#define ACT(observation, action) policy_act(observation, action, &frames, &scratch)
#else
#define ACT(observation, action) policy_act(observation, action, &scratch)
#endif

int main(void)
{
    float observation[POLICY_OBSERVATION_SIZE];
    policy_action action[POLICY_ACTION_SIZE];
    int i;
    for (i = 0; i < POLICY_OBSERVATION_SIZE; i++)
        observation[i] = sensors[i];
    if (ACT(observation, action) == POLICY_OK)
        for (i = 0; i < POLICY_ACTION_SIZE; i++)
            motors[i] = action[i];
    return 0;
}
