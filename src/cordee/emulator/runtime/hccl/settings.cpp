// Environment variables of HCCL that change what a communicator does here.
//
// Follows: CANN "Environment Variables", chapter Collective Communication.
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>

#include <hccl/hccl.h>

namespace hccl {
namespace {

constexpr uint64_t kSecond = 1000000000u;

// The value of `name` where it is a number in [lowest, highest]; anything else is told and ignored.
long number(const char *name, long otherwise, long lowest, long highest)
{
    const char *text = getenv(name);
    char *end;

    if (!text || !*text)
        return otherwise;
    const long value = strtol(text, &end, 10);
    if (*end == '\0' && value >= lowest && value <= highest)
        return value;
    fprintf(stderr, "cordee: %s=%s is not a number of %ld to %ld: %ld is used\n", name, text,
            lowest, highest, otherwise);
    return otherwise;
}

} // namespace

// The vendor asks for at least 120 s; short ones are allowed here, so that tests need not wait.
uint64_t connect_timeout_ns()
{
    static const long seconds = number("HCCL_CONNECT_TIMEOUT", 120, 1, 7200);
    return static_cast<uint64_t>(seconds) * kSecond;
}

uint64_t execute_timeout_ns()
{
    static const long seconds = number("HCCL_EXEC_TIMEOUT", 1836, 0, 2147483647);
    return static_cast<uint64_t>(seconds) * kSecond;
}

// RoCE sends a packet again HCCL_RDMA_RETRY_CNT times, each after 4.096 us * 2^HCCL_RDMA_TIMEOUT.
uint32_t network_timeout_ms()
{
    static const long exponent = number("HCCL_RDMA_TIMEOUT", 20, 5, 24);
    static const long attempts = number("HCCL_RDMA_RETRY_CNT", 7, 1, 7);
    return static_cast<uint32_t>(4.096e-3 * static_cast<double>(1L << exponent) *
                                 static_cast<double>(attempts)) + 1;
}

uint32_t buffer_mib()
{
    return static_cast<uint32_t>(number("HCCL_BUFFSIZE", HCCL_COMM_DEFAULT_BUFFSIZE, 1, 1L << 20));
}

uint16_t base_port()
{
    static const long port = number("HCCL_IF_BASE_PORT", 0, 1024, 65520);
    return static_cast<uint16_t>(port);
}

} // namespace hccl
