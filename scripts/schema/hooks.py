"""What the schema test has to know beyond the document.

JSON Schema cannot say that a text is a duration from 1s to 1h, that two fields exclude each other's
values or that the body must repeat the path. Values of that kind which are right by the schema are
therefore moved into the range the server takes; those that are wrong by the schema stay as they
are. The ranges themselves have unit tests beside their parsers.
"""

import datetime
import ipaddress
import re

import schemathesis

DURATION = re.compile(r"(0|([0-9]{1,9}((\.[0-9]{1,3})?(ms|s)|(\.[0-9])?(m|h|d)))+)")

TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T.*(Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
STATUSES = re.compile(r"[1-5][0-9][0-9]-[1-5][0-9][0-9]")

# Within the limits of leases, intervals and timeouts alike.
SOME_DURATION = "15s"
# Long polls and drains are waited for; their ends are tested in tests/behaviour.
SHORT_WAIT = "1ms"
# A time that has been, and is none before 1970.
SOME_TIME = "2001-01-01T00:00:00Z"
EXCLUSIVE = [("at", "index"), ("at", "wait"), ("at", "status"), ("since", "until")]
# The name that scripts/schema-test.sh gives a route.
ROUTE = "web-1"
# The id of the request that it sends.
REQUEST = "request-1"
# Probes of what was made up here must not reach anybody.
NOBODY = "127.77.0.1"
SOME_PORT = 9
SOCKET = re.compile(r"unix:/[^\x00-\x1f\x7f-\x9f]*")


@schemathesis.hook
def before_call(context, case, kwargs):
    """Moves what is right by the schema to where the server takes it, whatever phase made it up."""
    shorten_waits(case)
    settle_moments(case)
    if isinstance(case.body, (dict, list)):
        case.body = settle(case.body)
        settle_places(case)
    match_instance(case)
    match_route(case)
    match_request(case)


def shorten_waits(case):
    """Waits are short. A call that has an index but no wait would wait for minutes."""
    parameters = {parameter.name for parameter in case.operation.query}
    if "wait" in parameters and "index" in case.query:
        case.query.setdefault("wait", SHORT_WAIT)
    for name in ("wait", "drain"):
        if is_duration(case.query.get(name)):
            case.query[name] = SHORT_WAIT


def settle_moments(case):
    """Moments are of the past, and of parameters that do not go together, or in one order only, the
    call keeps one."""
    for name in ("at", "since", "until"):
        if is_time(case.query.get(name)):
            case.query[name] = SOME_TIME
    for kept, dropped in EXCLUSIVE:
        if kept in case.query and dropped in case.query:
            del case.query[dropped]


def settle_places(case):
    """What registers does so with an IP address, which goes with a port; sockets are not allowed."""
    operation = case.operation.definition.raw.get("operationId")
    if operation == "registerInstance":
        places = [case.body]
    elif operation == "registerInstances":
        places = case.body.get("instances") if isinstance(case.body, dict) else None
    else:
        places = None
    for place in places if isinstance(places, list) else []:
        if isinstance(place, dict):
            if is_socket(place.get("address")):
                place["address"] = NOBODY
            if place.get("port") is None:
                place["port"] = SOME_PORT


def match_instance(case):
    """A body that names its instance rightly names that of the path; every other patch is of the
    registration as it is."""
    if isinstance(case.body, dict):
        for name in ("service", "id"):
            if is_name(case.body.get(name)) and isinstance(case.path_parameters.get(name), str):
                case.body[name] = case.path_parameters[name]
    if len(case.headers.get("If-Match") or "") % 2:
        case.headers["If-Match"] = "*"


def match_route(case):
    """A route is the one there is, and a split that is right but for its sum or for naming a service
    twice is right."""
    if is_name((case.path_parameters or {}).get("name")):
        case.path_parameters["name"] = ROUTE
    sides = case.body.get("split") if isinstance(case.body, dict) else None
    if isinstance(sides, list) and sides and all(weighs_nothing(side) for side in sides):
        sides[0]["weight"] = 1
    seen = set()
    for position, side in enumerate(sides if isinstance(sides, list) else []):
        service = side.get("service") if isinstance(side, dict) else None
        if is_name(service) and service.lower() in seen:
            side["service"] = f"service-{position}"
        elif is_name(service):
            seen.add(service.lower())


def match_request(case):
    """A request that is explained is the one there was."""
    if case.operation.path.startswith("/api/v1/explain/") and is_name(case.path_parameters.get("id")):
        case.path_parameters["id"] = REQUEST


def weighs_nothing(side):
    weight = side.get("weight") if isinstance(side, dict) else None
    return isinstance(weight, (int, float)) and not isinstance(weight, bool) and weight == 0


def settle(value):
    """`value` with its durations and addresses moved to where they are taken."""
    if isinstance(value, dict):
        # A name may well read as a duration; it is still a name.
        return {
            key: inner if key in ("service", "id") else settle(inner) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [settle(inner) for inner in value]
    if is_duration(value):
        return SOME_DURATION
    if is_address(value):
        return NOBODY
    if isinstance(value, str) and STATUSES.fullmatch(value):
        return "-".join(sorted(value.split("-")))
    return value


def is_duration(value):
    return isinstance(value, str) and DURATION.fullmatch(value) is not None


def is_time(value):
    if not isinstance(value, str) or TIME.fullmatch(value) is None:
        return False
    try:
        datetime.datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_name(value):
    return isinstance(value, str) and NAME.fullmatch(value) is not None and value not in (".", "..")


def is_address(value):
    if not isinstance(value, str):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def is_socket(value):
    return isinstance(value, str) and SOCKET.fullmatch(value) is not None and len(value.encode()) <= 112


@schemathesis.check
def problems_are_of_the_kinds_listed(ctx, response, case):
    """A refusal's type is one of those that the document lists for its status."""
    if response.headers.get("content-type", [""])[0] != "application/problem+json":
        return
    documented = case.operation.definition.raw["responses"].get(str(response.status_code))
    if documented is None:  # status_code_conformance says so
        return
    kind = response.json()["type"]
    assert f"`{kind}`" in documented["description"], f"{kind} is not listed for {response.status_code}"


@schemathesis.check
def every_item_has_its_status(ctx, response, case):
    """Items of a batch are judged one by one: a wrong one is refused in its own place."""
    fields = {"renewLeases": "leases", "registerInstances": "instances"}
    field = fields.get(case.operation.definition.raw.get("operationId"))
    if response.status_code != 200 or field is None:
        return
    sent, answered = case.body[field], response.json()
    assert len(sent) == len(answered), f"{len(sent)} items, {len(answered)} statuses"
    for item in answered:
        refused = item["status"] >= 400
        assert refused == ("error" in item), f"{item} does not say why"
        assert not refused or item["error"]["status"] == item["status"], f"{item} contradicts itself"
