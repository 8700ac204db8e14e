// Settings that programs make and read back. Reductions are always in the order of ranks here, so
// none of them changes a result.
//
// Follows: CANN "HCCL API", HcclSetConfig.
#include <atomic>

#include "failure.h"

using namespace hccl;

static std::atomic<int32_t> deterministic;

HcclResult HcclSetConfig(HcclConfig config, HcclConfigValue value)
{
    if (config != HCCL_DETERMINISTIC)
        return fail(HCCL_E_PARA, "HcclSetConfig: no setting %d", static_cast<int>(config));
    if (value.value < 0 || value.value > 2)
        return fail(HCCL_E_PARA, "HcclSetConfig: HCCL_DETERMINISTIC is 0, 1 or 2, not %d", value.value);
    deterministic = value.value;
    return HCCL_SUCCESS;
}

HcclResult HcclGetConfig(HcclConfig config, HcclConfigValue *value)
{
    if (config != HCCL_DETERMINISTIC || !value)
        return fail(HCCL_E_PARA, "HcclGetConfig: no setting %d, or NULL", static_cast<int>(config));
    value->value = deterministic;
    return HCCL_SUCCESS;
}
