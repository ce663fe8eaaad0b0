"""Text: normalisation, phonemisers, lexicons, tokenisers. Nothing here touches the network."""
