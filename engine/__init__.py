"""What is known about the shop: contracts and sources, features and profiles, text, demand, responses; and the operational store."""
