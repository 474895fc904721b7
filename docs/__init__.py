"""The pages of the documentation, and the tools that keep them true."""
