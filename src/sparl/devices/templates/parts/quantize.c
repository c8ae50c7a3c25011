/* An observation in steps: -127 to 127, the nearest. */
static inline input_t quantize(float observation, float steps)
{
    const float y = observation * steps;
    if (y >= 126.5f)
        return 127;
    if (y <= -126.5f)
        return -127;
    return (input_t)(y < 0.0f ? y - 0.5f : y + 0.5f);
}
