int policy_act(const float observation[POLICY_OBSERVATION_SIZE],
               policy_action action[POLICY_ACTION_SIZE], policy_scratch *scratch)
{
    const int status = policy_outputs(observation, scratch);
    int i, best = 0;
    if (status != POLICY_OK)
        return status;
    for (i = 1; i < POLICY_OUTPUT_SIZE; i++)
        if (scratch->outputs[i] > scratch->outputs[best])
            best = i;
    action[0] = (policy_action)$first + best;
    return POLICY_OK;
}
