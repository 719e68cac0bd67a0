"""From a trained run to lists and reasons: `from recommending import Recommender` is what a notebook types."""
from recommending.recommender import Explanation, Recommendation, Recommender, Similar

__all__ = ["Explanation", "Recommendation", "Recommender", "Similar"]
