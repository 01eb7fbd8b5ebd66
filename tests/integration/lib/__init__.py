"""What the integration, fault and bench runs share: meters, broker, office and gateway as processes and servers."""
