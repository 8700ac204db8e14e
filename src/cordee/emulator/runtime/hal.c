/* libascend_hal.so: the driver's interface, of which the adapter's profiler asks for the clock.
 *
 * It is told that there is none, and then takes the host's time.
 */
#include <stdint.h>

#define API __attribute__((visibility("default")))

enum { NOT_SUPPORTED = 0xfffe };

API int32_t halGetAPIVersion(int32_t *version)
{
    (void)version;
    return NOT_SUPPORTED;
}

API int32_t halGetDeviceInfo(uint32_t device, int32_t module, int32_t info, int64_t *value)
{
    (void)device, (void)module, (void)info, (void)value;
    return NOT_SUPPORTED;
}
