/* libatb.so: what the adapter's operators of Ascend Transformer Boost (ATB) are linked with.
 *
 * Only with it does the adapter load those operators. The virtual chip carries them out itself, so
 * nothing here is ever reached by them; whoever else calls it is refused.
 *
 * Follows: github.com/Ascend/op-plugin op_plugin/third_party/atb/inc (the wheel has no such header).
 */
#include <stdint.h>

#include "cordee_work.h"

#pragma GCC visibility push(default)
namespace atb {

class Context;
class Operation;
struct Tensor;

namespace infer {

struct ElewiseParam;
struct GroupTopkParam;
struct LinearParam;
struct PagedAttentionParam;
struct ReshapeAndCacheParam;
struct RmsNormParam;
struct RopeParam;
struct SelfAttentionParam;

} // namespace infer

using Status = int32_t;
constexpr Status ERROR_CANN_ERROR = 12; // ErrorType in types.h

struct Utils {
    static uint64_t GetTensorSize(const Tensor &tensor);
};

static Status refuse(const char *what)
{
    cordee_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, what);
    return ERROR_CANN_ERROR;
}

Status CreateContext(Context **)
{
    return refuse("atb::CreateContext is not emulated");
}

Status DestroyContext(Context *)
{
    return refuse("atb::DestroyContext is not emulated");
}

template <typename Parameters>
Status CreateOperation(const Parameters &, Operation **)
{
    return refuse("atb::CreateOperation is not emulated");
}

template Status CreateOperation(const infer::ElewiseParam &, Operation **);
template Status CreateOperation(const infer::GroupTopkParam &, Operation **);
template Status CreateOperation(const infer::LinearParam &, Operation **);
template Status CreateOperation(const infer::PagedAttentionParam &, Operation **);
template Status CreateOperation(const infer::ReshapeAndCacheParam &, Operation **);
template Status CreateOperation(const infer::RmsNormParam &, Operation **);
template Status CreateOperation(const infer::RopeParam &, Operation **);
template Status CreateOperation(const infer::SelfAttentionParam &, Operation **);

Status DestroyOperation(Operation *)
{
    return refuse("atb::DestroyOperation is not emulated");
}

/* Has no code to fail with; a tensor of no bytes is one that no kernel takes. */
uint64_t Utils::GetTensorSize(const Tensor &)
{
    refuse("atb::Utils::GetTensorSize is not emulated");
    return 0;
}

} // namespace atb
#pragma GCC visibility pop
