/* libopapi.so: the operator that the adapter calls in CANN's operator library itself, not through
 * PyTorch's dispatcher: ProcessGroupHCCL has gradients checked before it sends them (NPU_ASD_ENABLE).
 *
 * Follows: github.com/hicann/ops-math math/silent_check/docs/aclnnSilentCheck.md; the jump of a value is
 * explained with NPU_ASD_UPPER_THRESH in "Environment variables" of Ascend Extension for PyTorch. Every
 * other function of the library is missing, so the adapter says by name which it lacks.
 */
#include <acl/error_codes/rt_error_codes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cordee_work.h"

#define API __attribute__((visibility("default")))

/* What aclnn functions answer: CANN "aclnn return codes". */
enum { NULL_POINTER = 161001, INVALID = 161002 };

/* NPU_ASD_ENABLE. */
enum { LOG_ONLY = 1, LOG_EVERY_VALUE = 3 };

enum { NORMAL, ABNORMAL, SUSPECT }; /* the result: github.com/hicann/canndev, SilentCheckV2 */

typedef struct aclTensor {
    char *data; /* of the first element */
    aclDataType type;
    uint64_t count;
} aclTensor;

typedef struct thresholds {
    float value, jump;
} thresholds;

typedef struct aclOpExecutor {
    aclTensor val, sfda, step, result;
    int32_t min_steps, detect;
    thresholds abnormal, suspect;
    int chip;
} aclOpExecutor;

static size_t bytes_of(aclDataType type)
{
    return type == ACL_INT64 ? 8 : type == ACL_FLOAT || type == ACL_INT32 ? 4 : 2;
}

API aclTensor *aclCreateTensor(const int64_t *sizes, uint64_t dimensions, aclDataType type,
                               const int64_t *strides, int64_t offset, aclFormat format,
                               const int64_t *storage_sizes, uint64_t storage_dimensions, void *data)
{
    aclTensor *made = malloc(sizeof *made);

    (void)strides, (void)format, (void)storage_sizes, (void)storage_dimensions;
    if (!made)
        return NULL;
    *made = (aclTensor){(char *)data + (uint64_t)offset * bytes_of(type), type, 1};
    for (uint64_t i = 0; i < dimensions; i++)
        made->count *= (uint64_t)sizes[i];
    return made;
}

API int32_t aclDestroyTensor(const aclTensor *tensor)
{
    free((void *)tensor);
    return 0;
}

static bool touch(const aclTensor *tensor, void *host, bool writes)
{
    const size_t bytes = tensor->count * bytes_of(tensor->type);
    void *held = cordee_hold(tensor->data, bytes);

    if (!held)
        return false;
    memcpy(writes ? held : host, writes ? host : held, bytes);
    cordee_let_go();
    return true;
}

static bool read_value(const aclTensor *tensor, float *value)
{
    uint32_t bits = 0;

    if (!touch(tensor, &bits, false))
        return false;
    bits <<= tensor->type == ACL_BF16 ? 16 : 0;
    memcpy(value, &bits, sizeof *value);
    return true;
}

/* `past` is the last value, the smallest and the largest so far. */
static bool exceeds(float value, const float *past, bool jumps, thresholds most)
{
    return value > most.value || (jumps && fabsf(value - past[0]) > most.jump * (past[2] - past[1]));
}

static int judge(const aclOpExecutor *check, float value, const float *past, int64_t step)
{
    const bool jumps = step >= check->min_steps;

    if (!isfinite(value) || exceeds(value, past, jumps, check->abnormal))
        return ABNORMAL;
    return exceeds(value, past, jumps, check->suspect) ? SUSPECT : NORMAL;
}

static void tell(const aclOpExecutor *check, int found, float value, const float *past, int64_t step)
{
    const char *const events[] = {"normal case", "ComputeL1Error", "ComputeL2Error"};
    const int shown = cordee_log_level();

    if (found == NORMAL && (check->detect != LOG_EVERY_VALUE || shown > ACL_INFO))
        return;
    if (found == SUSPECT && shown > ACL_WARNING)
        return;
    fprintf(stderr,
            "cordee: chip %d: SilentCheckV2 %s: val = [%e], pre_val = [%e], min_val = [%e], "
            "max_val = [%e], step = [%ld], c_thresh_l1 = [%e], c_coeff_l1 = [%e], c_thresh_l2 = [%e], "
            "c_coeff_l2 = [%e], npu_asd_detect = [%d]\n",
            check->chip, events[found], value, past[0], past[1], past[2], (long)step,
            check->abnormal.value, check->abnormal.jump, check->suspect.value, check->suspect.jump,
            check->detect);
}

/* The documents say that training ends. That is how a task of the chip's own CPU does that has failed. */
static aclError run(void *argument, aclError before)
{
    const aclOpExecutor *check = argument;
    float value, past[3];
    int64_t step;
    int32_t found;

    if (before != ACL_SUCCESS)
        return before;
    if (!read_value(&check->val, &value) || !touch(&check->sfda, past, false) ||
        !touch(&check->step, &step, false))
        return cordee_fail(ACL_ERROR_RT_SYS_DMA, "aclnnSilentCheck met device memory that was freed");
    found = judge(check, value, past, step);
    tell(check, found, value, past, step);
    if (found == ABNORMAL && check->detect != LOG_ONLY)
        return cordee_fail(ACL_ERROR_RT_AICPU_EXCEPTION, "the accuracy sensitivity feature of a gradient "
                                                         "is abnormal (SilentCheckV2)");
    past[0] = value;
    past[1] = value < past[1] ? value : past[1];
    past[2] = value > past[2] ? value : past[2];
    step++;
    if (!touch(&check->sfda, past, true) || !touch(&check->step, &step, true) ||
        !touch(&check->result, &found, true))
        return cordee_fail(ACL_ERROR_RT_SYS_DMA, "aclnnSilentCheck met device memory that was freed");
    return ACL_SUCCESS;
}

API int32_t aclnnSilentCheckGetWorkspaceSize(
    const aclTensor *val, aclTensor *input_grad, aclTensor *sfda, aclTensor *step, int32_t min_steps,
    float thresh_l1, float coeff_l1, float thresh_l2, float coeff_l2, int32_t detect, aclTensor *result,
    uint64_t *workspace_bytes, aclOpExecutor **made)
{
    if (!val || !input_grad || !sfda || !step || !result || !workspace_bytes || !made)
        return cordee_fail(NULL_POINTER, "aclnnSilentCheck: NULL");
    if ((val->type != ACL_FLOAT && val->type != ACL_BF16) || val->count != 1 ||
        sfda->type != ACL_FLOAT || sfda->count != 3 || step->type != ACL_INT64 || step->count != 1 ||
        result->type != ACL_INT32 || result->count != 1)
        return cordee_fail(INVALID, "aclnnSilentCheck: val is a float32 or bfloat16, sfda three float32, "
                                    "step an int64 and result an int32; nothing else is emulated");
    *made = malloc(sizeof **made);
    if (!*made)
        return cordee_fail(ACL_ERROR_RT_MEMORY_ALLOCATION, "aclnnSilentCheck: no host memory");
    **made = (aclOpExecutor){*val, *sfda, *step, *result, min_steps, detect, {thresh_l1, coeff_l1},
                             {thresh_l2, coeff_l2}, cordee_current_chip()};
    *workspace_bytes = 0;
    return 0;
}

API int32_t aclnnSilentCheck(void *workspace, uint64_t workspace_bytes, aclOpExecutor *executor,
                             aclrtStream stream)
{
    (void)workspace, (void)workspace_bytes;
    return executor ? cordee_queue(stream, run, executor)
                    : cordee_fail(NULL_POINTER, "aclnnSilentCheck: NULL");
}
