// Reductions in the order of ranks, rounded to the type after each step as the chip's links do.
//
// Which type goes with which call: CANN "HCCL API", HcclAllReduce and its neighbours.
#include "element.h"

#include <string.h>

#include <algorithm>

#include "cordee_work.h"

namespace hccl {
namespace {

struct Kind {
    HcclDataType type;
    const char *name;
    uint64_t bytes;
    bool moves, moves_on_950, reduces, reduces_on_950;
};

constexpr Kind kinds[] = {
    {HCCL_DATA_TYPE_INT8, "int8", 1, true, true, true, true},
    {HCCL_DATA_TYPE_UINT8, "uint8", 1, true, true, false, false},
    {HCCL_DATA_TYPE_INT16, "int16", 2, true, true, true, true},
    {HCCL_DATA_TYPE_UINT16, "uint16", 2, true, true, false, false},
    {HCCL_DATA_TYPE_INT32, "int32", 4, true, true, true, true},
    {HCCL_DATA_TYPE_UINT32, "uint32", 4, true, true, false, false},
    {HCCL_DATA_TYPE_INT64, "int64", 8, true, true, true, true},
    {HCCL_DATA_TYPE_UINT64, "uint64", 8, true, true, false, true},
    {HCCL_DATA_TYPE_FP16, "float16", 2, true, true, true, true},
    {HCCL_DATA_TYPE_FP32, "float32", 4, true, true, true, true},
    {HCCL_DATA_TYPE_FP64, "float64", 8, true, true, false, true},
    {HCCL_DATA_TYPE_BFP16, "bfloat16", 2, true, true, true, true},
    {HCCL_DATA_TYPE_HIF8, "hif8", 1, false, true, false, false},
    {HCCL_DATA_TYPE_FP8E4M3, "fp8e4m3", 1, false, true, false, false},
    {HCCL_DATA_TYPE_FP8E5M2, "fp8e5m2", 1, false, true, false, false},
    {HCCL_DATA_TYPE_FP8E8M0, "fp8e8m0", 1, false, true, false, false},
};

const Kind *kind_of(HcclDataType type)
{
    for (const Kind &kind : kinds)
        if (kind.type == type)
            return &kind;
    return nullptr;
}

bool is_950()
{
    const char *name = aclrtGetSocName();
    return name && strncmp(name, "Ascend950", strlen("Ascend950")) == 0;
}

struct Half {
    uint16_t bits;
};
struct Brain {
    uint16_t bits;
};

float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float widen(Brain x)
{
    return from_bits(static_cast<uint32_t>(x.bits) << 16);
}

// To the nearest, ties to even; a NaN stays one.
inline Brain narrow_brain(float value)
{
    const uint32_t bits = to_bits(value);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    return {static_cast<uint16_t>(value != value ? 0x7fc0 : rounded >> 16)};
}

// Scaling by 2^112 moves half's exponent to float's, subnormals included; infinities and NaN apart.
inline float widen(Half x)
{
    const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
    const uint32_t rest = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
    const float scaled = from_bits(rest) * from_bits(0x77800000u); // 2^112
    const uint32_t special = rest | 0x7f800000u;
    return from_bits(sign | (rest >= 0x0f800000u ? special : to_bits(scaled)));
}

inline Half narrow_half(float value)
{
    const uint32_t bits = to_bits(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffffu;
    // Below 2^-14 adding 0.5 leaves the rounded subnormal in the last bits.
    const uint32_t small = to_bits(from_bits(rest) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (rest - 0x38000000u + 0xfff + (rest >> 13 & 1)) >> 13;
    const uint32_t big = rest > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const uint32_t made = rest >= 0x477ff000u ? big : rest < 0x38800000u ? small : normal;
    return {static_cast<uint16_t>(sign | made)};
}

template <typename T> struct Arithmetic {
    static T wide(T x) { return x; }
    static T narrow(T x) { return x; }
};
template <> struct Arithmetic<Half> {
    static float wide(Half x) { return widen(x); }
    static Half narrow(float x) { return narrow_half(x); }
};
template <> struct Arithmetic<Brain> {
    static float wide(Brain x) { return widen(x); }
    static Brain narrow(float x) { return narrow_brain(x); }
};

// Integers wrap around, as on the chip; signed overflow would be undefined here.
template <typename T> T add(T a, T b)
{
    if constexpr (std::is_integral_v<T>)
        return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) +
                              static_cast<std::make_unsigned_t<T>>(b));
    else
        return a + b;
}

template <typename T> T multiply(T a, T b)
{
    if constexpr (std::is_integral_v<T>)
        return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    else
        return a * b;
}

template <typename T, typename Step>
inline void loop(void *into, const void *from, size_t count, Step step)
{
    using A = Arithmetic<T>;
    T *__restrict to = static_cast<T *>(into);
    const T *__restrict of = static_cast<const T *>(from);
    for (size_t i = 0; i < count; i++)
        to[i] = A::narrow(step(A::wide(to[i]), A::wide(of[i])));
}

template <typename T> void reduce_as(HcclReduceOp op, void *into, const void *from, size_t count)
{
    switch (op) {
    case HCCL_REDUCE_SUM:
        return loop<T>(into, from, count, [](auto a, auto b) { return add(a, b); });
    case HCCL_REDUCE_PROD:
        return loop<T>(into, from, count, [](auto a, auto b) { return multiply(a, b); });
    case HCCL_REDUCE_MAX: // a NaN on either side wins
        return loop<T>(into, from, count, [](auto a, auto b) { return a > b || a != a ? a : b; });
    default:
        return loop<T>(into, from, count, [](auto a, auto b) { return a < b || a != a ? a : b; });
    }
}

} // namespace

uint64_t element_bytes(HcclDataType type)
{
    const Kind *kind = kind_of(type);
    return kind ? kind->bytes : 0;
}

const char *element_name(HcclDataType type)
{
    const Kind *kind = kind_of(type);
    return kind ? kind->name : "unknown";
}

const char *reduction_name(HcclReduceOp op)
{
    static const char *const names[] = {"sum", "prod", "max", "min"};
    return op <= HCCL_REDUCE_MIN ? names[op] : "unknown";
}

HcclResult check_movable(const char *function, HcclDataType type)
{
    const Kind *kind = kind_of(type);

    if (kind && (kind->moves || (kind->moves_on_950 && is_950())))
        return HCCL_SUCCESS;
    return fail(HCCL_E_NOT_SUPPORT, "EI0003: %s: the data type %s (%d) is not supported on this "
                                    "chip", function, element_name(type), static_cast<int>(type));
}

HcclResult check_reducible(const char *function, HcclDataType type, HcclReduceOp op)
{
    const Kind *kind = kind_of(type);
    const bool no_product = type == HCCL_DATA_TYPE_INT16 || type == HCCL_DATA_TYPE_BFP16;

    if (op > HCCL_REDUCE_MIN)
        return fail(HCCL_E_PARA, "EI0003: %s: no reduction %d", function, static_cast<int>(op));
    if (!kind || !(kind->reduces || (kind->reduces_on_950 && is_950())) ||
        (op == HCCL_REDUCE_PROD && no_product))
        return fail(HCCL_E_NOT_SUPPORT, "EI0003: %s: %s of %s is not supported on this chip",
                    function, reduction_name(op), element_name(type));
    return HCCL_SUCCESS;
}

void reduce(HcclDataType type, HcclReduceOp op, void *into, const void *from, size_t count)
{
    switch (type) {
    case HCCL_DATA_TYPE_INT8:
        return reduce_as<int8_t>(op, into, from, count);
    case HCCL_DATA_TYPE_INT16:
        return reduce_as<int16_t>(op, into, from, count);
    case HCCL_DATA_TYPE_INT32:
        return reduce_as<int32_t>(op, into, from, count);
    case HCCL_DATA_TYPE_INT64:
        return reduce_as<int64_t>(op, into, from, count);
    case HCCL_DATA_TYPE_UINT64:
        return reduce_as<uint64_t>(op, into, from, count);
    case HCCL_DATA_TYPE_FP16:
        return reduce_as<Half>(op, into, from, count);
    case HCCL_DATA_TYPE_BFP16:
        return reduce_as<Brain>(op, into, from, count);
    case HCCL_DATA_TYPE_FP64:
        return reduce_as<double>(op, into, from, count);
    default:
        return reduce_as<float>(op, into, from, count);
    }
}

} // namespace hccl
