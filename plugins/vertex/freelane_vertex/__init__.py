"""Google: Vertex AI, the Gemini API and Cloud Run; what they give and what they cost so far."""
