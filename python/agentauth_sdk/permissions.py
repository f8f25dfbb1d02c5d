"""The permissions of the built-in services as constants, and the rule by which one permission grants another."""

from __future__ import annotations

from typing import FrozenSet, Iterable, Iterator

Permission = str
"""`service:resource:action`, `service:resource:*`, `service:*:*` or `*:*:*`. The server checks it: operators add services."""


class _ZendeskTickets:
    Read: Permission = "zendesk:tickets:read"
    Write: Permission = "zendesk:tickets:write"
    All: Permission = "zendesk:tickets:*"


class _ZendeskUsers:
    Read: Permission = "zendesk:users:read"
    Write: Permission = "zendesk:users:write"
    All: Permission = "zendesk:users:*"


class _Zendesk:
    Tickets = _ZendeskTickets()
    Users = _ZendeskUsers()
    All: Permission = "zendesk:*:*"


class _SlackMessages:
    Read: Permission = "slack:messages:read"
    Write: Permission = "slack:messages:write"
    All: Permission = "slack:messages:*"


class _SlackChannels:
    Read: Permission = "slack:channels:read"
    Write: Permission = "slack:channels:write"
    All: Permission = "slack:channels:*"


class _Slack:
    Messages = _SlackMessages()
    Channels = _SlackChannels()
    All: Permission = "slack:*:*"


class _HubSpotContacts:
    Read: Permission = "hubspot:contacts:read"
    Write: Permission = "hubspot:contacts:write"
    All: Permission = "hubspot:contacts:*"


class _HubSpotDeals:
    Read: Permission = "hubspot:deals:read"
    Write: Permission = "hubspot:deals:write"
    All: Permission = "hubspot:deals:*"


class _HubSpotCompanies:
    Read: Permission = "hubspot:companies:read"
    All: Permission = "hubspot:companies:*"


class _HubSpot:
    Contacts = _HubSpotContacts()
    Deals = _HubSpotDeals()
    Companies = _HubSpotCompanies()
    All: Permission = "hubspot:*:*"


class _GitHubRepos:
    Read: Permission = "github:repos:read"
    Write: Permission = "github:repos:write"
    All: Permission = "github:repos:*"


class _GitHubIssues:
    Read: Permission = "github:issues:read"
    Write: Permission = "github:issues:write"
    All: Permission = "github:issues:*"


class _GitHubPullRequests:
    Read: Permission = "github:pull_requests:read"
    All: Permission = "github:pull_requests:*"


class _GitHub:
    Repos = _GitHubRepos()
    Issues = _GitHubIssues()
    PullRequests = _GitHubPullRequests()
    All: Permission = "github:*:*"


class _SalesforceAccounts:
    Read: Permission = "salesforce:accounts:read"
    Write: Permission = "salesforce:accounts:write"
    All: Permission = "salesforce:accounts:*"


class _SalesforceLeads:
    Read: Permission = "salesforce:leads:read"
    Write: Permission = "salesforce:leads:write"
    All: Permission = "salesforce:leads:*"


class _Salesforce:
    Accounts = _SalesforceAccounts()
    Leads = _SalesforceLeads()
    All: Permission = "salesforce:*:*"


class _StripePayments:
    Read: Permission = "stripe:payments:read"
    All: Permission = "stripe:payments:*"


class _StripeCustomers:
    Read: Permission = "stripe:customers:read"
    All: Permission = "stripe:customers:*"


class _StripeInvoices:
    Read: Permission = "stripe:invoices:read"
    All: Permission = "stripe:invoices:*"


class _Stripe:
    Payments = _StripePayments()
    Customers = _StripeCustomers()
    Invoices = _StripeInvoices()
    All: Permission = "stripe:*:*"


class _Permissions:
    """`Permissions.Zendesk.Tickets.Read` is `"zendesk:tickets:read"`, `Permissions.HubSpot.All` is `"hubspot:*:*"`."""

    Zendesk = _Zendesk()
    Slack = _Slack()
    HubSpot = _HubSpot()
    GitHub = _GitHub()
    Salesforce = _Salesforce()
    Stripe = _Stripe()
    Admin: Permission = "*:*:*"


Permissions = _Permissions()


def _leaves(part: object) -> Iterator[str]:
    for name in dir(part):
        value = getattr(part, name)
        if name.startswith("_"):
            continue
        if isinstance(value, str):
            yield value
        else:
            yield from _leaves(value)


_KNOWN: FrozenSet[str] = frozenset(_leaves(Permissions))


def is_granted(granted: Iterable[str], permission: Permission) -> bool:
    """
    Whether a list of granted permissions grants one, as the gateway decides it.

    For a built-in service, `service:resource:*` grants the actions that the catalogue lists for the resource. For a service that
    an operator added it grants every action, because only the server knows that service's catalogue.
    """
    service, _, rest = permission.partition(":")
    granting = {"*:*:*", f"{service}:*:*", permission}
    if permission in _KNOWN or f"{service}:*:*" not in _KNOWN:
        granting.add(f"{service}:{rest.partition(':')[0]}:*")
    return not granting.isdisjoint(granted)
