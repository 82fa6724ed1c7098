"""Recommend through an approximate index: item vectors of a model in faiss.

    pip install faiss-cpu
    python examples/nearest_neighbours.py

An index of graphs (HNSW) knows distances, not inner products; `item_vectors(model, metric="l2")` adds the column that
turns one into the other. hnswlib takes the same vectors: `hnswlib.Index("l2", dim=vectors.shape[1])`.

Vectors of clear tastes stand in clusters, which a graph links badly unless it looks at enough candidates while it is
built: 200, as hnswlib does, where faiss looks at 40. Measure the recall of your own vectors, as below.
"""

import faiss
import numpy as np

import fastals
from fastals.serving import item_vectors, user_vectors

rng = np.random.default_rng(0)
n_users, n_items, n = 5_000, 3_000, 10
taste = rng.integers(0, 20, n_users)
users = rng.integers(0, n_users, 200_000)
items = 20 * rng.integers(0, n_items // 20, len(users)) + np.where(rng.random(len(users)) < 0.8, taste[users], 0)
model = fastals.ImplicitALS(factors=32, random_state=0).fit((users, items))

some = np.arange(1000)
exact = model.recommend(model.users_[some], n, exclude_seen=False).items

flat = faiss.IndexFlatIP(32)
vectors, labels = item_vectors(model)
flat.add(vectors)
_, found = flat.search(user_vectors(model, model.users_[some]), n)
print(f"IndexFlatIP, inner products: {np.mean(labels[found] == exact):.4f} of the lists as the model gives them")

vectors, labels = item_vectors(model, metric="l2")
graph = faiss.IndexHNSWFlat(vectors.shape[1], 32)
graph.hnsw.efConstruction = 200  # before vectors are added
graph.hnsw.efSearch = 128
graph.add(vectors)
_, found = graph.search(user_vectors(model, model.users_[some], metric="l2"), n)
recall = np.mean([np.isin(row, best).mean() for row, best in zip(labels[found], exact, strict=True)])
print(f"IndexHNSWFlat, distances: recall@{n} {recall:.4f}")
