int policy_act(const float observation[POLICY_OBSERVATION_SIZE],
               policy_action action[POLICY_ACTION_SIZE], policy_scratch *scratch)
{
    const int status = policy_outputs(observation, scratch);
    int i;
    if (status != POLICY_OK)
        return status;
    for (i = 0; i < POLICY_ACTION_SIZE; i++) {
        const float inside = low[i] + (scratch->outputs[i] + 1.0f) * (0.5f * high[i] - 0.5f * low[i]);
        action[i] = inside < low[i] ? low[i] : inside > high[i] ? high[i] : inside;
    }
    return POLICY_OK;
}
