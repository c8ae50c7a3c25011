int policy_act(const float observation[POLICY_OBSERVATION_SIZE],
               policy_action action[POLICY_ACTION_SIZE], ${frames_parameter}policy_scratch *scratch)
{
    int status, i;
$remember
    status = policy_outputs($seen, scratch);
    if (status != POLICY_OK)
        return status;
$action
    return POLICY_OK;
}
