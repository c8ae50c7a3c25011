$best
    action[0] = (policy_action)$first + best;
