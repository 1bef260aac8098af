"""Core ML files in and out, as protobuf messages."""
