"""What is known about the shop: contracts, sources, features, profiles, text, demand, responses; and the store."""
