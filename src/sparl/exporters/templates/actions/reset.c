void policy_reset(policy_frames *frames)
{
    frames->started = 0;
}
