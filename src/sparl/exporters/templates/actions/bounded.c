    for (i = 0; i < POLICY_ACTION_SIZE; i++) {
        const float inside = low[i] + (scratch->outputs[i] + 1.0f) * (0.5f * high[i] - 0.5f * low[i]);
        action[i] = inside < low[i] ? low[i] : inside > high[i] ? high[i] : inside;
    }
