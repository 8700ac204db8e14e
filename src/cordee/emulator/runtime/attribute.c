/* Attributes of operator calls. Text and truth values are kept, for they choose what an operator
 * does; numbers are only checked, for no operator that is carried out here looks at one.
 *
 * Follows: CANN "Operator API (single operator)", chapter aclopAttr.
 */
#include <stdlib.h>
#include <string.h>

#include "named_operator.h"

typedef struct attribute {
    struct attribute *next;
    char *name;
    char *text; /* NULL: not text */
    bool flag;
} attribute;

struct aclopAttr {
    attribute *first;
};

aclopAttr *aclopCreateAttr(void)
{
    return calloc(1, sizeof(aclopAttr));
}

void aclopDestroyAttr(const aclopAttr *attributes)
{
    attribute *a = attributes ? attributes->first : NULL;

    while (a) {
        attribute *next = a->next;
        free(a->name);
        free(a->text);
        free(a);
        a = next;
    }
    free((void *)(uintptr_t)attributes);
}

static const attribute *find(const aclopAttr *attributes, const char *name)
{
    const attribute *a = attributes ? attributes->first : NULL;

    while (a && strcmp(a->name, name) != 0)
        a = a->next;
    return a;
}

const char *named_operator_text(const aclopAttr *attributes, const char *name)
{
    const attribute *a = find(attributes, name);

    return a ? a->text : NULL;
}

bool named_operator_flag(const aclopAttr *attributes, const char *name, bool otherwise)
{
    const attribute *a = find(attributes, name);

    return a ? a->flag : otherwise;
}

static aclError keep(aclopAttr *attributes, const char *name, const char *text, bool flag)
{
    attribute *a;

    if (!attributes || !name)
        return chip_fail(ACL_ERROR_INVALID_PARAM, "an attribute of no operator or of no name");
    a = calloc(1, sizeof *a);
    if (!a)
        return chip_fail(ACL_ERROR_BAD_ALLOC, "no host memory for an attribute");
    *a = (attribute){attributes->first, strdup(name), text ? strdup(text) : NULL, flag};
    attributes->first = a;
    return ACL_SUCCESS;
}

static aclError set_attribute(aclopAttr *attributes, const char *name)
{
    return keep(attributes, name, NULL, false);
}

static aclError set_list(aclopAttr *attributes, const char *name, int count, const void *values)
{
    if (count < 0 || (count > 0 && !values))
        return chip_fail(ACL_ERROR_INVALID_PARAM, "attribute %s: a list of %d", name, count);
    return set_attribute(attributes, name);
}

aclError aclopSetAttrBool(aclopAttr *attributes, const char *name, uint8_t value)
{
    return keep(attributes, name, NULL, value != 0);
}

aclError aclopSetAttrInt(aclopAttr *attributes, const char *name, int64_t value)
{
    (void)value;
    return set_attribute(attributes, name);
}

aclError aclopSetAttrFloat(aclopAttr *attributes, const char *name, float value)
{
    (void)value;
    return set_attribute(attributes, name);
}

aclError aclopSetAttrString(aclopAttr *attributes, const char *name, const char *value)
{
    return value ? keep(attributes, name, value, false)
                 : chip_fail(ACL_ERROR_INVALID_PARAM, "attribute %s: NULL", name);
}

aclError aclopSetAttrDataType(aclopAttr *attributes, const char *name, aclDataType value)
{
    (void)value;
    return set_attribute(attributes, name);
}

aclError aclopSetAttrListBool(aclopAttr *attributes, const char *name, int count,
                              const uint8_t *values)
{
    return set_list(attributes, name, count, values);
}

aclError aclopSetAttrListInt(aclopAttr *attributes, const char *name, int count,
                             const int64_t *values)
{
    return set_list(attributes, name, count, values);
}

aclError aclopSetAttrListFloat(aclopAttr *attributes, const char *name, int count,
                               const float *values)
{
    return set_list(attributes, name, count, values);
}

aclError aclopSetAttrListListInt(aclopAttr *attributes, const char *name, int count,
                                 const int *counts, const int64_t *const values[])
{
    return counts || count == 0 ? set_list(attributes, name, count, (const void *)values)
                                : set_list(attributes, name, count, NULL);
}
