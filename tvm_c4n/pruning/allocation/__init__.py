"""From a budget to a recipe: sensitivities, costs and the Pareto front."""
