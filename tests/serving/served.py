"""Models to publish, what they recommend, and what a server holds."""

import numpy as np

import fastals


def fit(n_users=300, n_items=80, seed=0, users=None, items=None, factors=4):
    rng = np.random.default_rng(seed)
    u, i = rng.integers(0, n_users, 12 * n_users), (n_items * rng.random(12 * n_users) ** 2).astype(int)
    users = np.array([f"u{j:04d}" for j in range(n_users)], dtype=object) if users is None else users
    items = np.array([f"i{j}" for j in range(n_items)], dtype=object) if items is None else items
    return fastals.ImplicitALS(factors=factors, iterations=2, random_state=seed).fit((users[u], items[i]))


def expected(model, n, **options):
    """Each user's list, without padding."""
    return {
        user: row[np.isfinite(scores)].tolist()
        for users, items, all_scores in model.recommend_all(n, **options)
        for user, row, scores in zip(users.tolist(), items, all_scores, strict=True)
    }


def read_all(reader, users):
    lists = dict(zip(users, reader.get_many(users), strict=True))
    assert not any(served.popular for served in lists.values())
    return {user: served.items for user, served in lists.items()}


def connection(url):
    import redis

    return redis.Redis.from_url(url)


def everything(url):
    """Each key as it is stored."""
    client = connection(url)
    keys = sorted(client.keys("*"))
    with client.pipeline() as pipe:
        for key in keys:
            pipe.dump(key)
        return dict(zip(keys, pipe.execute(), strict=True))
