/* Acts in an episode of the newest of those observations. Then another one begins with the first. */
static int failed_step(policy_scratch *scratch)
{
    static policy_frames frames;
    policy_action action[POLICY_ACTION_SIZE];
    int step;
    policy_reset(&frames);
    for (step = 0; step <= $observation_count; step++) {
        const int at = step % $observation_count, test = $observation_count + at;
        if (step == $observation_count)
            policy_reset(&frames);
        if (policy_act(observations[at] + POLICY_INPUT_SIZE - POLICY_OBSERVATION_SIZE, action,
                       &frames, scratch) != POLICY_OK ||
            differs(scratch->outputs, expected[test]))
            return test + 1;
    }
    return 0;
}

