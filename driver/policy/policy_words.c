/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Names and sentences of policies and decisions. */

#include <string.h>

#include "driver/policy/policy.h"

static const char *const kinds[_POLICY_KIND_MAX] = {
        [POLICY_BALANCED] = "balanced",
        [POLICY_MINIMAL_DOWNTIME] = "minimal-downtime",
        [POLICY_POSTCOPY] = "postcopy",
        [POLICY_DEADLINE] = "deadline",
        [POLICY_NEVER_THROTTLE] = "never-throttle",
};

static const char *const actions[_POLICY_ACTION_MAX] = {
        [POLICY_CONTINUE] = "continue",
        [POLICY_RAISE_DOWNTIME] = "raise-downtime",
        [POLICY_THROTTLE] = "throttle",
        [POLICY_SWITCH_TO_POSTCOPY] = "postcopy",
        [POLICY_STOP_AND_COPY] = "stop-and-copy",
        [POLICY_ABORT] = "abort",
};

static const char *const reasons[_POLICY_REASON_MAX] = {
        [POLICY_REASON_NONE] = "nothing has been decided yet",
        [POLICY_REASON_NO_BANDWIDTH] = "no bandwidth has been measured yet",
        [POLICY_REASON_ABOVE_LIMIT] = "the expected downtime is above the limit",
        [POLICY_REASON_STILL_SHRINKING] = "below the limit, and another round makes the downtime shorter",
        [POLICY_REASON_SHORT_ENOUGH] = "what is pending costs less than stopping the guest",
        [POLICY_REASON_NOT_SHRINKING] = "below the limit, and more rounds do not help",
        [POLICY_REASON_IDLE] = "the guest writes nothing",
        [POLICY_REASON_RAMP] = "rounds do not get below the limit: the next step of the ramp",
        [POLICY_REASON_THROTTLE_BEGIN] = "rounds have stalled: the guest's writers are slowed down",
        [POLICY_REASON_THROTTLE_MORE] = "rounds have stalled although writers are slowed down: slower still",
        [POLICY_REASON_THROTTLE_EASED] = "the policy has changed: the guest's writers are slowed down less, or no more",
        [POLICY_REASON_THROTTLED] = "the guest's writers are slowed down, and it helps",
        [POLICY_REASON_ONE_ROUND] = "the rounds that come before postcopy are done",
        [POLICY_REASON_STALLED] = "rounds have stalled, and nothing else is left to try",
        [POLICY_REASON_WAIT_MINIMUM] = "rounds have stalled: waiting for one as good as the best",
        [POLICY_REASON_DEADLINE] = "the deadline has come",
        [POLICY_REASON_DEADLINE_NEAR] = "what is left just fits into the time until the deadline",
        [POLICY_REASON_IN_TIME] = "rounds get below the limit before the deadline",
        [POLICY_REASON_LATE] = "rounds alone do not get below the limit before the deadline",
        [POLICY_REASON_GIVEN_UP] = "too many rounds have stalled",
        [POLICY_REASON_USER] = "asked for by the user",
        [POLICY_REASON_PAUSED] = "the guest is paused anyway",
};

const char *policy_kind_to_string(PolicyKind kind) {
        return kind >= 0 && kind < _POLICY_KIND_MAX ? kinds[kind] : "invalid";
}

PolicyKind policy_kind_from_string(const char *name) {
        for (PolicyKind kind = 0; name && kind < _POLICY_KIND_MAX; kind++)
                if (strcmp(kinds[kind], name) == 0)
                        return kind;
        return _POLICY_KIND_INVALID;
}

const char *policy_action_to_string(PolicyAction action) {
        return action >= 0 && action < _POLICY_ACTION_MAX ? actions[action] : "invalid";
}

PolicyAction policy_action_from_string(const char *name) {
        for (PolicyAction action = 0; name && action < _POLICY_ACTION_MAX; action++)
                if (strcmp(actions[action], name) == 0)
                        return action;
        return _POLICY_ACTION_INVALID;
}

const char *policy_reason_to_string(PolicyReason reason) {
        return reason < _POLICY_REASON_MAX ? reasons[reason] : "invalid";
}
