/* y * sigmoid(y). */
static inline float swish(float y)
{
    return y / (exp_less_1(-y) + 2.0f);
}
