/* What went wrong last, per thread, as aclGetRecentErrMsg and aclrtGetLastError tell it. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chip.h"
#include "cordee_work.h"

enum { REASON = 512 };

static __thread char recent[REASON];
static __thread aclError last;

const char *chip_why(void)
{
    return recent;
}

aclError chip_report(aclError code, const char *why)
{
    if (why != recent)
        snprintf(recent, sizeof recent, "%s", why);
    last = code;
    if (getenv("CORDEE_LOG"))
        fprintf(stderr, "cordee: %s (%d)\n", recent, code);
    return code;
}

aclError chip_fail(aclError code, const char *format, ...)
{
    char why[REASON];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return chip_report(code, why);
}

aclError chip_need(aclError code, const char *function, const void *result)
{
    if (code != ACL_SUCCESS || result)
        return code;
    return chip_fail(ACL_ERROR_RT_PARAM_INVALID, "%s: NULL", function);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static aclError queued_code;
static char queued_reason[REASON];

void chip_note_queued(aclError code)
{
    pthread_mutex_lock(&lock);
    queued_code = code;
    snprintf(queued_reason, sizeof queued_reason, "%s", recent);
    pthread_mutex_unlock(&lock);
}

aclError chip_fail_as_queued(aclError code, const char *otherwise)
{
    char why[REASON];

    pthread_mutex_lock(&lock);
    snprintf(why, sizeof why, "%s", code == queued_code ? queued_reason : otherwise);
    pthread_mutex_unlock(&lock);
    return chip_report(code, why);
}

aclError chip_not_emulated(const char *function)
{
    return chip_fail(ACL_ERROR_RT_FEATURE_NOT_SUPPORT, "%s is not emulated", function);
}

const char *aclGetRecentErrMsg(void)
{
    return recent[0] ? recent : NULL;
}

aclError aclrtPeekAtLastError(aclrtLastErrLevel level)
{
    return level == ACL_RT_THREAD_LEVEL ? last : ACL_ERROR_RT_PARAM_INVALID;
}

aclError aclrtGetLastError(aclrtLastErrLevel level)
{
    aclError found = aclrtPeekAtLastError(level);

    last = ACL_SUCCESS;
    return found;
}

CORDEE_API int cordee_log_level(void)
{
    const char *wanted = getenv("ASCEND_GLOBAL_LOG_LEVEL");

    return wanted && *wanted >= '0' && *wanted <= '4' ? *wanted - '0' : ACL_ERROR;
}

/* torch_npu logs through this. */
void aclAppLog(aclLogLevel level, const char *function, const char *file, uint32_t line,
               const char *format, ...)
{
    const char *shown = getenv("ASCEND_SLOG_PRINT_TO_STDOUT");
    va_list arguments;

    if (!shown || strcmp(shown, "1") != 0 || (int)level < cordee_log_level())
        return;
    printf("[%s] %s:%u %s: ", (const char *[]){"DEBUG", "INFO", "WARNING", "ERROR"}[level & 3],
           file, line, function);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}
