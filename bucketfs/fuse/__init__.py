"""The kernel door: requests come in, a reply or an errno goes out."""
