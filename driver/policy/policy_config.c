/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver/policy/policy_config.h"

#include <string.h>

#define MSEC UINT64_C(1000)
#define SEC UINT64_C(1000000)

typedef enum KeyType {
        KEY_MSEC, /* uint64_t of microseconds, written in milliseconds */
        KEY_SEC,  /* the same, written in seconds, with a fraction if need be */
        KEY_UINT,
        KEY_BOOL, /* "yes", "no" */
        KEY_ACTION, /* one that ends a migration, or "continue" */
        KEY_SCHEDULE,
} KeyType;

#define KEY(field) offsetof(PolicyConfig, field)

static const struct {
        const char *name;
        KeyType type;
        size_t offset;
        uint64_t min, max; /* as written */
} keys[] = {
        { "downtime.initial", KEY_MSEC, KEY(downtime_usec), 1, 2000000 },
        { "downtime.max", KEY_MSEC, KEY(downtime_max_usec), 1, 2000000 },
        { "downtime.steps", KEY_UINT, KEY(downtime_steps), 1, 1000 },
        { "downtime.interval", KEY_SEC, KEY(downtime_interval_usec), 0, 86400 },
        { "downtime.after-round", KEY_UINT, KEY(downtime_after_round), 0, 1000000 },
        { "downtime.always", KEY_BOOL, KEY(downtime_always), 0, 0 },
        { "downtime.reach", KEY_UINT, KEY(downtime_reach_percent), 100, 10000 },
        { "downtime.schedule", KEY_SCHEDULE, KEY(schedule), 1, 2000000 },
        { "stall.window", KEY_SEC, KEY(stall_window_usec), 0, 86400 },
        { "stall.margin", KEY_UINT, KEY(stall_margin_percent), 0, 50 },
        { "stall.decay", KEY_UINT, KEY(stall_decay_percent), 0, 100 },
        { "stall.limit", KEY_UINT, KEY(stall_limit), 0, 1000000 },
        { "stall.action", KEY_ACTION, KEY(stall_action), 0, 0 },
        { "throttle.initial", KEY_UINT, KEY(throttle_initial), 1, 99 },
        { "throttle.increment", KEY_UINT, KEY(throttle_increment), 1, 99 },
        { "throttle.max", KEY_UINT, KEY(throttle_max), 0, 99 },
        { "postcopy.after-round", KEY_UINT, KEY(postcopy_after_round), 0, 1000000 },
        { "deadline.seconds", KEY_SEC, KEY(deadline_usec), 0, 30 * 86400 },
        { "deadline.action", KEY_ACTION, KEY(deadline_action), 0, 0 },
};

const char *policy_config_key(unsigned i) {
        return i < sizeof(keys) / sizeof(keys[0]) ? keys[i].name : NULL;
}

void policy_config_init(PolicyConfig *config, PolicyKind kind) {
        *config = (PolicyConfig) {
                .kind = kind,
                .downtime_usec = 300 * MSEC, /* libvirt's and QEMU's default */
                .downtime_max_usec = 1000 * MSEC,
                .downtime_steps = 4,
                .downtime_reach_percent = 200,
                .stall_window_usec = 5 * SEC,
                .stall_margin_percent = 4,
                .stall_decay_percent = 75,
                .stall_action = POLICY_STOP_AND_COPY,
                .throttle_initial = 20, /* QEMU's */
                .throttle_increment = 10,
                .throttle_max = 99,
                .deadline_action = POLICY_SWITCH_TO_POSTCOPY,
        };
        switch (kind) {
        case POLICY_MINIMAL_DOWNTIME:
                config->downtime_max_usec = config->downtime_usec;
                config->throttle_max = 0;
                config->stall_action = POLICY_CONTINUE;
                config->deadline_usec = 600 * SEC;
                config->deadline_action = POLICY_ABORT;
                break;
        case POLICY_POSTCOPY:
                config->postcopy_after_round = 1;
                break;
        case POLICY_DEADLINE:
                config->deadline_usec = 60 * SEC;
                break;
        case POLICY_NEVER_THROTTLE:
                config->throttle_max = 0;
                break;
        default:
                break;
        }
}

/* A decimal number with at most six places, in millionths; the rest of the text in *ret_end. */
static PolicyConfigResult parse_decimal(const char *text, uint64_t *ret_millionths, const char **ret_end) {
        uint64_t value = 0, place = SEC;

        if (*text < '0' || *text > '9')
                return POLICY_CONFIG_BAD_VALUE;
        for (; *text >= '0' && *text <= '9'; text++) {
                if (value > UINT64_C(1000000000000) * SEC / 10)
                        return POLICY_CONFIG_OUT_OF_RANGE;
                value = value * 10 + (uint64_t) (*text - '0') * SEC;
        }
        if (*text == '.')
                for (text++; *text >= '0' && *text <= '9' && place > 1; text++) {
                        place /= 10;
                        value += (uint64_t) (*text - '0') * place;
                }
        *ret_millionths = value;
        *ret_end = text;
        return POLICY_CONFIG_OK;
}

/* A whole number that is all of the text. */
static PolicyConfigResult parse_uint(const char *text, uint64_t *ret_value) {
        const char *end;
        PolicyConfigResult r = parse_decimal(text, ret_value, &end);

        if (r != POLICY_CONFIG_OK)
                return r;
        if (*end != '\0' || *ret_value % SEC != 0 || strchr(text, '.'))
                return POLICY_CONFIG_BAD_VALUE;
        *ret_value /= SEC;
        return POLICY_CONFIG_OK;
}

/* "3:200" (after 3 stalled rounds 200 ms) or "75s:76" (after 75 seconds 76 ms), separated by commas. */
static PolicyConfigResult parse_schedule(const char *text, uint64_t min, uint64_t max, PolicyConfig *config) {
        PolicyScheduleStep steps[POLICY_SCHEDULE_MAX];
        unsigned n = 0;

        while (*text != '\0') {
                PolicyScheduleStep step = { 0 };
                uint64_t when, limit;
                const char *end;
                PolicyConfigResult r = parse_decimal(text, &when, &end);

                if (r != POLICY_CONFIG_OK)
                        return r;
                if (*end == 's') {
                        step.after_usec = when;
                        end++;
                } else if (when < SEC || when % SEC != 0)
                        return POLICY_CONFIG_BAD_VALUE;
                else
                        step.stalls = (unsigned) (when / SEC);
                if (*end != ':')
                        return POLICY_CONFIG_BAD_VALUE;
                r = parse_decimal(end + 1, &limit, &end);
                if (r != POLICY_CONFIG_OK)
                        return r;
                if (limit < min * SEC || limit > max * SEC || n == POLICY_SCHEDULE_MAX)
                        return POLICY_CONFIG_OUT_OF_RANGE;
                step.limit_usec = limit / 1000;
                steps[n++] = step;
                if (*end != ',' && *end != '\0')
                        return POLICY_CONFIG_BAD_VALUE;
                text = *end == ',' ? end + 1 : end;
        }
        memcpy(config->schedule, steps, n * sizeof(steps[0]));
        config->n_schedule = n;
        return POLICY_CONFIG_OK;
}

/* scale: microseconds of one. */
static PolicyConfigResult set_time(uint64_t *field, const char *value, uint64_t scale, uint64_t min, uint64_t max) {
        const char *end;
        uint64_t millionths;
        PolicyConfigResult r = parse_decimal(value, &millionths, &end);

        if (r != POLICY_CONFIG_OK)
                return r;
        if (*end != '\0')
                return POLICY_CONFIG_BAD_VALUE;
        if (millionths < min * SEC || millionths > max * SEC)
                return POLICY_CONFIG_OUT_OF_RANGE;
        *field = millionths / (SEC / scale);
        return POLICY_CONFIG_OK;
}

static PolicyConfigResult set_uint(unsigned *field, const char *value, uint64_t min, uint64_t max) {
        uint64_t number;
        PolicyConfigResult r = parse_uint(value, &number);

        if (r != POLICY_CONFIG_OK)
                return r;
        if (number < min || number > max)
                return POLICY_CONFIG_OUT_OF_RANGE;
        *field = (unsigned) number;
        return POLICY_CONFIG_OK;
}

static PolicyConfigResult set_bool(bool *field, const char *value) {
        if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
                return POLICY_CONFIG_BAD_VALUE;
        *field = strcmp(value, "yes") == 0;
        return POLICY_CONFIG_OK;
}

static PolicyConfigResult set_action(PolicyAction *field, const char *value) {
        PolicyAction action = policy_action_from_string(value);

        if (action < 0 || action == POLICY_RAISE_DOWNTIME || action == POLICY_THROTTLE)
                return POLICY_CONFIG_BAD_VALUE;
        *field = action;
        return POLICY_CONFIG_OK;
}

PolicyConfigResult policy_config_set(PolicyConfig *config, const char *key, const char *value) {
        for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
                void *field = (char *) config + keys[i].offset;

                if (strcmp(keys[i].name, key) != 0)
                        continue;
                switch (keys[i].type) {
                case KEY_MSEC:
                        return set_time(field, value, MSEC, keys[i].min, keys[i].max);
                case KEY_SEC:
                        return set_time(field, value, SEC, keys[i].min, keys[i].max);
                case KEY_UINT:
                        return set_uint(field, value, keys[i].min, keys[i].max);
                case KEY_BOOL:
                        return set_bool(field, value);
                case KEY_ACTION:
                        return set_action(field, value);
                case KEY_SCHEDULE:
                        return parse_schedule(value, keys[i].min, keys[i].max, config);
                }
        }
        return POLICY_CONFIG_NO_KEY;
}

const char *policy_config_check(const PolicyConfig *config) {
        if (config->kind == POLICY_DEADLINE && config->deadline_usec == 0)
                return "the policy 'deadline' needs deadline.seconds";
        if (config->deadline_usec > 0 && config->deadline_action == POLICY_CONTINUE)
                return "deadline.action must be postcopy, stop-and-copy or abort";
        if (config->kind == POLICY_MINIMAL_DOWNTIME &&
            (config->deadline_action != POLICY_ABORT ||
             (config->stall_action != POLICY_CONTINUE && config->stall_action != POLICY_ABORT)))
                return "the policy 'minimal-downtime' never stops the guest above its limit: its actions can only be "
                       "'abort' and 'continue'";
        if (config->kind == POLICY_NEVER_THROTTLE && config->throttle_max > 0)
                return "the policy 'never-throttle' has no throttle";
        return NULL;
}

const char *policy_config_problem(PolicyConfigResult result) {
        switch (result) {
        case POLICY_CONFIG_NO_POLICY:
                return "is no migration policy";
        case POLICY_CONFIG_NO_KEY:
                return "is no setting of a migration policy";
        case POLICY_CONFIG_OUT_OF_RANGE:
                return "is outside its range";
        default:
                return "does not have a value that it can have";
        }
}

/* One word of the text, at most POLICY_WORD_SIZE - 1 bytes; returns what follows, NULL if it does not fit. */
static const char *take_word(const char *text, char *word) {
        size_t length = strcspn(text, " ");
        bool fits = length < POLICY_WORD_SIZE;

        memcpy(word, text, fits ? length : POLICY_WORD_SIZE - 1);
        word[fits ? length : POLICY_WORD_SIZE - 1] = '\0';
        return fits ? text + length + strspn(text + length, " ") : NULL;
}

PolicyConfigResult policy_config_parse(PolicyConfig *config, const char *text, char word[static POLICY_WORD_SIZE]) {
        PolicyConfig parsed;
        PolicyKind kind;

        text = take_word(text + strspn(text, " "), word);
        kind = text ? policy_kind_from_string(word) : _POLICY_KIND_INVALID;
        if (kind < 0)
                return POLICY_CONFIG_NO_POLICY;
        policy_config_init(&parsed, kind);
        while (*text != '\0') {
                PolicyConfigResult r;
                char *value;

                text = take_word(text, word);
                value = text ? strchr(word, '=') : NULL;
                if (!value)
                        return POLICY_CONFIG_BAD_VALUE;
                *value++ = '\0';
                r = policy_config_set(&parsed, word, value);
                if (r != POLICY_CONFIG_OK)
                        return r;
        }
        parsed.postcopy = config->postcopy;
        parsed.overhead_usec = config->overhead_usec;
        *config = parsed;
        return POLICY_CONFIG_OK;
}
