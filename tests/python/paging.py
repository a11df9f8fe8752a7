"""Whole lists through boto3."""


def pages(client, operation, key, **kwargs):
    if client.can_paginate(operation):
        found = []
        for page in client.get_paginator(operation).paginate(**kwargs):
            found += page.get(key, [])
        return found
    return getattr(client, operation)(**kwargs)[key]
