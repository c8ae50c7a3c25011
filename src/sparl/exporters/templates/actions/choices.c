$best
    for (i = POLICY_ACTION_SIZE - 1; i >= 0; i--) { /* the last number changes fastest */
        action[i] = first[i] + best % choices[i];
        best /= choices[i];
    }
