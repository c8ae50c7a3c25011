/* Normalises x by its own mean and deviation, then applies a gain and a shift per entry. */
static inline void layer_norm(const float *gain, const float *shift, int count, float *x)
{
    float mean = 0.0f, variance = 0.0f, factor;
    int i;
    for (i = 0; i < count; i++)
        mean += x[i];
    mean /= (float)count;
    for (i = 0; i < count; i++)
        variance += (x[i] - mean) * (x[i] - mean);
    factor = 1.0f / sqrtf(variance / (float)count + LAYER_EPSILON);
    for (i = 0; i < count; i++)
        x[i] = gain[i] * ((x[i] - mean) * factor) + shift[i];
}
