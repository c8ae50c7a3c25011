/* Multiplies each entry of x by its factor and adds its offset. */
static inline void affine(const float *stretch, const float *offset, int count, float *x)
{
    int i;
    for (i = 0; i < count; i++)
        x[i] = stretch[i] * x[i] + offset[i];
}
