    for (i = 0; i < POLICY_OBSERVATION_SIZE; i++)
        if (!is_finite(observation[i]))
            return POLICY_NOT_FINITE;
    for (i = 0; i < POLICY_INPUT_SIZE; i++)
        frames->inputs[i] = frames->started && i < POLICY_INPUT_SIZE - POLICY_OBSERVATION_SIZE
                                ? frames->inputs[i + POLICY_OBSERVATION_SIZE]
                                : observation[i % POLICY_OBSERVATION_SIZE];
    frames->started = 1;
