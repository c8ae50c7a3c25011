"""What several methods share: the protocol, neurons, the group penalty, unstructured starts."""
