/* libacl_op_compiler.so: compile options, and operators asked for by name.
 *
 * Follows: CANN "Operator API (single operator)", chapter Operator Compilation.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <acl/acl_op_compiler.h>

#include "named_operator.h"

enum { OPTIONS = ACL_OP_DEBUG_OPTION + 1, VALUE = 4096 };

struct aclGraphDumpOption {
    int unused;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *options[OPTIONS];

static bool known(aclCompileOpt option)
{
    return (int)option >= 0 && (int)option < OPTIONS;
}

aclError aclSetCompileopt(aclCompileOpt option, const char *value)
{
    char *copy;

    if (!known(option) || !value || strlen(value) >= VALUE)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclSetCompileopt: option %d", (int)option);
    copy = strdup(value);
    if (!copy)
        return chip_fail(ACL_ERROR_BAD_ALLOC, "aclSetCompileopt: no host memory");
    pthread_mutex_lock(&lock);
    free(options[option]);
    options[option] = copy;
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

size_t aclGetCompileoptSize(aclCompileOpt option)
{
    size_t size = 0;

    pthread_mutex_lock(&lock);
    if (known(option))
        size = strlen(options[option] ? options[option] : "") + 1;
    pthread_mutex_unlock(&lock);
    return size;
}

aclError aclGetCompileopt(aclCompileOpt option, char *value, size_t length)
{
    if (!known(option) || !value || length < aclGetCompileoptSize(option))
        return chip_fail(ACL_ERROR_INVALID_PARAM, "aclGetCompileopt: option %d into %zu bytes",
                         (int)option, length);
    pthread_mutex_lock(&lock);
    snprintf(value, length, "%s", options[option] ? options[option] : "");
    pthread_mutex_unlock(&lock);
    return ACL_SUCCESS;
}

aclError aclopSetCompileFlag(aclOpCompileFlag flag)
{
    (void)flag; /* how kernels are compiled; there are none */
    return ACL_SUCCESS;
}

aclError aclopCompileAndExecute(const char *operator, int inputs,
                                const aclTensorDesc *const input_descs[],
                                const aclDataBuffer *const input_data[], int outputs,
                                const aclTensorDesc *const output_descs[],
                                aclDataBuffer *const output_data[], const aclopAttr *attributes,
                                aclopEngineType engine, aclopCompileType type, const char *path,
                                aclrtStream stream)
{
    named_call call = {operator, inputs, outputs, input_descs, output_descs, input_data,
                       (const aclDataBuffer *const *)output_data, attributes, stream};

    (void)engine, (void)type, (void)path;
    return named_operator_run(&call);
}

aclError aclopCompileAndExecuteV2(const char *operator, int inputs, aclTensorDesc *input_descs[],
                                  aclDataBuffer *input_data[], int outputs,
                                  aclTensorDesc *output_descs[], aclDataBuffer *output_data[],
                                  aclopAttr *attributes, aclopEngineType engine,
                                  aclopCompileType type, const char *path, aclrtStream stream)
{
    return aclopCompileAndExecute(operator, inputs, (const aclTensorDesc *const *)input_descs,
                                  (const aclDataBuffer *const *)input_data, outputs,
                                  (const aclTensorDesc *const *)output_descs, output_data,
                                  attributes, engine, type, path, stream);
}

aclError aclGenGraphAndDumpForOp(const char *operator, int inputs,
                                 const aclTensorDesc *const input_descs[],
                                 const aclDataBuffer *const input_data[], int outputs,
                                 const aclTensorDesc *const output_descs[],
                                 aclDataBuffer *const output_data[], const aclopAttr *attributes,
                                 aclopEngineType engine, const char *path,
                                 const aclGraphDumpOption *options_of_dump)
{
    (void)operator, (void)inputs, (void)input_descs, (void)input_data, (void)outputs;
    (void)output_descs, (void)output_data, (void)attributes, (void)engine, (void)path;
    (void)options_of_dump;
    return chip_not_emulated("aclGenGraphAndDumpForOp (the graph of an operator)");
}

aclGraphDumpOption *aclCreateGraphDumpOpt(void)
{
    return calloc(1, sizeof(aclGraphDumpOption));
}

aclError aclDestroyGraphDumpOpt(const aclGraphDumpOption *option)
{
    free((void *)(uintptr_t)option);
    return ACL_SUCCESS;
}
