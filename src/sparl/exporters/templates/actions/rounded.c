    for (i = 0; i < POLICY_ACTION_SIZE; i++) {
        const float half = 0.5f * (float)high[i] - 0.5f * (float)low[i];
        const float inside = (float)low[i] + (scratch->outputs[i] + 1.0f) * half;
        action[i] = nearest(inside, low[i], high[i]);
    }
