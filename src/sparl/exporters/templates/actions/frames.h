/* The newest observations of an episode, the newest last. It lives from call to call. */
typedef struct {
    float inputs[POLICY_INPUT_SIZE];
    int started;
} policy_frames;

/* Call it before the first observation of an episode, which then stands for those before it. An
 * observation with NaN or infinity is not remembered. */
void policy_reset(policy_frames *frames);

