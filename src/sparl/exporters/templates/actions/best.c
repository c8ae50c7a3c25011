    int best = 0;
    for (i = 1; i < POLICY_OUTPUT_SIZE; i++)
        if (scratch->outputs[i] > scratch->outputs[best])
            best = i;
